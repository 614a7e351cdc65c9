"""Small random weights of VGG-16 in the forms in which VGG-Face is published, and an independent network for them."""

from pathlib import Path

import numpy as np
import scipy.io
import torch
from torch import nn

FILTERS, HIDDEN, SIZE = (2, 3, 4, 5, 6), 7, 64
SIDE = SIZE // 32


def reference(seed: int = 0) -> nn.ModuleDict:
    """torchvision's layout of VGG-16, written from its documentation: features and classifier as nn.Sequential."""
    torch.manual_seed(seed)
    features: list[nn.Module] = []
    channels = 3
    for filters, count in zip(FILTERS, (2, 2, 3, 3, 3), strict=True):
        for _ in range(count):
            features += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
            channels = filters
        features.append(nn.MaxPool2d(2, 2))
    classifier = [nn.Linear(channels * SIDE * SIDE, HIDDEN), nn.ReLU(), nn.Dropout()]
    classifier += [nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(), nn.Linear(HIDDEN, 3)]
    network = nn.ModuleDict({"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)})
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
            nn.init.normal_(module.bias, std=0.5)
    return network.eval()


def reference_fc7(network: nn.ModuleDict, crops: np.ndarray, colours: str) -> np.ndarray:
    """FC7 after its ReLU, of uint8 RGB crops."""
    x = crops.astype(np.float32) - np.array([129.1863, 104.7624, 93.5940], dtype=np.float32)
    if colours == "BGR":
        x = x[..., ::-1]
    x = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        return network["classifier"][:5](network["features"](x).flatten(1)).numpy()


def named(network: nn.ModuleDict, convolution: str = "conv{}_{}", dense: str = "fc{}") -> dict[str, torch.Tensor]:
    """The state dict under names of layers."""
    blocks = [(block, number) for block, count in enumerate((2, 2, 3, 3, 3), 1) for number in range(1, count + 1)]
    layers = [convolution.format(*each) for each in blocks] + [dense.format(number) for number in (6, 7, 8)]
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return {
        f"{layer}.{part}": getattr(module, part).detach().clone()
        for layer, module in zip(layers, modules, strict=True)
        for part in ("weight", "bias")
    }


def write_mat(network: nn.ModuleDict, path: Path, wrapped: bool = True, old: bool = False) -> None:
    """As MatConvNet keeps it: a cell of structs, filters H x W x C x K; `old` is its form before beta 8."""
    layers = []
    for name, module in zip(_layer_names(), _weighted(network), strict=True):
        weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
        if isinstance(module, nn.Linear):
            side = SIDE if name == "fc6" else 1
            weight = weight.reshape(len(weight), -1, side, side)
        filters, bias = weight.transpose(2, 3, 1, 0), bias[:, None] if wrapped else bias[None]
        if old:
            layers.append({"type": "conv", "name": name, "filters": filters, "biases": bias})
        else:
            cell = np.empty((1, 2), dtype=object)
            cell[0, 0], cell[0, 1] = filters, bias
            layers.append({"type": "conv", "name": name, "weights": cell, "pad": 1.0, "stride": 1.0})
        layers.append({"type": "relu", "name": f"relu{name.lstrip('convf')}"})
    cells = np.empty((1, len(layers)), dtype=object)
    cells[0] = layers
    content = {"layers": cells, "normalization": {"averageImage": np.zeros((1, 1, 3))}}
    scipy.io.savemat(path, {"net": content} if wrapped else content)


def _layer_names() -> list[str]:
    blocks = [f"conv{block}_{n}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)]
    return [*blocks, "fc6", "fc7", "fc8"]


def _weighted(network: nn.ModuleDict) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
