"""The VGG-Face descriptor (Parkhi, Vedaldi and Zisserman 2015): FC7 of a VGG-16 that learnt who is who.

Preprocessing as published: the crop at 224 px, values of 0 to 255 minus the mean colour, without scaling. The
descriptor is FC7 after its ReLU, which the paper, speaking of FC7 features, leaves open: 4096 numbers, none below zero.
They are divided by their length where identities are compared; a probe, which begins with batch norm, gets them as they
are.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabnet.supervised.vgg_face_weights import CONVOLUTIONS, LAYERS, PUBLISHED, Shape, Weights, read_weights

#: Of the authors' training faces: red, green, blue.
MEAN_COLOUR = (129.1863, 104.7624, 93.5940)

#: Crops that go through the network at a time: a crop of 224 px takes 26 MB in its first two layers.
_BATCH = 16


class VggFace(nn.Module):
    """Crops, uint8 RGB (N, S, S, 3), to descriptors, float32 (N, D). `size` is S, `dimension` D."""

    mean_colour: Tensor

    def __init__(self, weights: Weights, shape: Shape) -> None:
        super().__init__()
        self.size, self.dimension = shape.size, shape.hidden
        for name, wanted in shape.weights().items():
            with torch.device("meta"):
                layer = (
                    nn.Conv2d(wanted[1], wanted[0], 3, padding=1)
                    if len(wanted) == 4
                    else nn.Linear(wanted[1], wanted[0])
                )
            self.add_module(name, layer)
        self.load_state_dict(weights.state, assign=True)
        self.register_buffer("mean_colour", torch.tensor(MEAN_COLOUR), persistent=False)
        self._bgr = weights.colours == "BGR"
        self.requires_grad_(False).eval()

    def forward(self, crops_NSSC: Tensor) -> Tensor:
        x_NCSS = (crops_NSSC.float() - self.mean_colour).movedim(-1, 1)
        if self._bgr:
            x_NCSS = x_NCSS.flip(1)
        for name, following in zip(CONVOLUTIONS, LAYERS[1:], strict=False):
            x_NCSS = self.get_submodule(name)(x_NCSS).relu_()
            if following[:5] != name[:5]:  # the last of its block
                x_NCSS = nn.functional.max_pool2d(x_NCSS, 2)
        hidden_ND: Tensor = self.get_submodule("fc6")(x_NCSS.flatten(1)).relu_()
        descriptors_ND: Tensor = self.get_submodule("fc7")(hidden_ND).relu_()
        return descriptors_ND


def open_vgg_face(path: Path, sha256: str, shape: Shape = PUBLISHED) -> VggFace:
    """The network with the weights of a file, in any of the forms of vgg_face_weights.

    Raises:
        UserError: see read_weights.
    """
    return VggFace(read_weights(path, sha256, shape), shape)


@torch.inference_mode()
def describe(network: VggFace, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
    """Batches of crops (N, S, S, 3) to batches of descriptors (N, D); a few crops are worked on at a time."""
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    for crops in batches:
        parts = [network(torch.from_numpy(crops[at : at + _BATCH]).to(device)) for at in range(0, len(crops), _BATCH)]
        yield torch.cat(parts).cpu().numpy()
