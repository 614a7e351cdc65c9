"""VGG-11, configuration A of Simonyan and Zisserman (2015), with a head for each task of a labelled set.

Departures, all of them options: `width` filters in the first convolution, 64 in the paper, on which all other widths
depend; batch norm, which the paper did not have yet and without which a network this deep hardly starts to learn from
few faces. The first fully connected layer is as wide as the crop asks for: at 224 px and width 64 it is the paper's.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

#: Pooling halves a crop this many times; a smaller crop has nothing left.
_POOLINGS = 5
SMALLEST = 2**_POOLINGS

#: Filters over `width`, "pool" for max pooling.
_PLAN = (1, "pool", 2, "pool", 4, 4, "pool", 8, 8, "pool", 8, 8, "pool")
#: Of the two hidden fully connected layers: 4096 at width 64.
_HIDDEN = 64


class Vgg11(nn.Module):
    """Crops (N, 3, S, S) in [-1, 1] to the outputs of every task, float32 (N, K) by its name.

    Args:
        size: S, at least SMALLEST.
        outputs: K of each task.
    """

    def __init__(
        self, size: int, width: int, outputs: Mapping[str, int], batch_norm: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if size < SMALLEST:
            raise ValueError(f"VGG-11 halves a crop {_POOLINGS} times; {size} px are fewer than {SMALLEST}")
        layers: list[nn.Module] = []
        channels = 3
        for step in _PLAN:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(channels, step * width, 3, padding=1))
            channels = step * width
            layers += [nn.BatchNorm2d(channels)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
        hidden = _HIDDEN * width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * (size // SMALLEST) ** 2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.heads = nn.ModuleDict({task: nn.Linear(hidden, count) for task, count in outputs.items()})
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.startswith("heads."):
                nn.init.normal_(parameter, std=0.01)  # so that predictions begin at the mean of the training faces
            elif parameter.ndim > 1:  # batch norm begins with ones
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")

    def forward(self, crops_NCSS: Tensor) -> dict[str, Tensor]:
        hidden_NH = self.classifier(self.features(crops_NCSS).flatten(1))
        # In bfloat16, scores of many faces would tie, and degrees come in coarse steps.
        with torch.autocast(crops_NCSS.device.type, enabled=False):
            return {task: head(hidden_NH.float()) for task, head in self.heads.items()}
