"""Histograms of oriented gradients as what an embedding has to tell: how structure changes within a track.

The loss of a warped frame counts colours, and a brow that moves by a pixel changes few of them. Histograms of oriented
gradients (Dalal and Triggs 2005) count edges and forget light, which is why probes read action units from them. They
have been targets of masked prediction (Wei and others 2022, MaskFeat); here the embedding tells, by a linear map, how
those of each frame of a sample differ from the sample's mean. Identity, which all frames share, is not in that.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fabnet.networks.encoder import depth_of

#: Cells along a side of the frame, and directions of each: 512 numbers of a frame.
CELLS, DIRECTIONS = 8, 8
#: How far from the point (0, 0.1), a little below the middle of a frame of [-1, 1], cells count: a standard deviation.
_MIDDLE, _REACH = 0.1, 0.35
#: Contrast, in the units of frames in [-1, 1], below which a cell counts as flat.
_FLAT = 0.05
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def orientation_histograms(frames_NCHW: Tensor, kernels_KC33: Tensor) -> Tensor:
    """Local histograms of gradient directions, (N, K * CELLS ** 2) float32, free of gradients.

    A pixel gives each direction the part of its gradient that points there, at least 0. Cells hold the mean over their
    pixels and those within half a cell around them, so that what crosses a border comes and goes gradually. They are
    divided by the root mean square length of the cells around them (3 x 3, those beyond the frame as those at its
    edge).

    Args:
        frames_NCHW: in [-1, 1], square, with a side that CELLS divides.
        kernels_KC33: from `direction_kernels`.
    """
    with torch.no_grad(), torch.autocast(frames_NCHW.device.type, enabled=False):
        padded = functional.pad(frames_NCHW.float(), (1, 1, 1, 1), mode="replicate")
        along_NKHW = functional.conv2d(padded, kernels_KC33).relu_()
        side = frames_NCHW.shape[-1] // CELLS
        around = side // 2
        cells = functional.avg_pool2d(
            along_NKHW, side + 2 * around, stride=side, padding=around, count_include_pad=False
        )
        energy = functional.pad(cells.square().sum(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        return (cells / (functional.avg_pool2d(energy, 3, stride=1) + _FLAT**2).sqrt()).flatten(1)


def direction_kernels() -> Tensor:
    """Kernels (DIRECTIONS, 3, 3, 3) that give the grey value's central difference along each direction.

    The first points to the right, the third down.
    """
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (2 * math.pi / DIRECTIONS)
    kernels = torch.zeros((DIRECTIONS, 3, 3), dtype=torch.float64)
    kernels[:, 1, 2], kernels[:, 1, 0] = angles.cos() / 2, -angles.cos() / 2
    kernels[:, 2, 1], kernels[:, 0, 1] = angles.sin() / 2, -angles.sin() / 2
    grey = torch.tensor(_GREY, dtype=torch.float64)
    return (kernels[:, None] * grey[:, None, None]).float()


def cell_weights() -> Tensor:
    """How much each cell counts, (CELLS ** 2), 1 on average: what moves in a face is in the middle of its crop.

    Hair, shoulders and what lies behind them fill the cells around, and change as much.
    """
    place = (torch.arange(CELLS, dtype=torch.float64) + 0.5) * (2 / CELLS) - 1
    off_HW = (place[:, None] - _MIDDLE).square() + place.square()
    weight_HW = (-off_HW / (2 * _REACH**2)).exp()
    return (weight_HW / weight_HW.mean()).flatten().float()


class HistogramHead(nn.Module):
    """Tells by a linear map of the embeddings how the histograms of a sample's frames differ from their mean.

    A constant of the map would cancel, so that there is none. The map is a convolution of 1 x 1, for Muon.

    Args:
        image_size: H = W of a frame, a power of two of at least CELLS.
        embedding_dim: D.
    """

    kernels_KC33: Tensor
    weight_F: Tensor

    def __init__(self, image_size: int, embedding_dim: int) -> None:
        super().__init__()
        depth_of(image_size)
        self.told = nn.Conv2d(embedding_dim, DIRECTIONS * CELLS**2, 1, bias=False)
        self.register_buffer("kernels_KC33", direction_kernels(), persistent=False)
        self.register_buffer("weight_F", cell_weights().repeat(DIRECTIONS), persistent=False)

    def forward(self, embedding_VBD: Tensor, views_VBCHW: Tensor, mask_VB: Tensor | None) -> Tensor:
        """Squared error of what is told of each sample, (B,), mean over its frames and their cells, by `cell_weights`.

        The histogram of a cell has a squared length of about 0.7. An embedding that says nothing has an error of 0.02
        on drawn people.

        Args:
            embedding_VBD: of each frame.
            views_VBCHW: the frames, in [-1, 1].
            mask_VB: False for padding, which counts for nothing; None where there is none.
        """
        true_VBF = orientation_histograms(views_VBCHW.flatten(0, 1), self.kernels_KC33).unflatten(
            0, embedding_VBD.shape[:2]
        )
        told = self.told(embedding_VBD.flatten(0, 1)[:, :, None, None]).flatten(1)
        told_VBF = told.float().unflatten(0, embedding_VBD.shape[:2])
        error_B: Tensor = _spread((told_VBF - true_VBF) * self.weight_F.sqrt(), mask_VB) / CELLS**2
        return error_B


def _spread(values_VBF: Tensor, mask_VB: Tensor | None) -> Tensor:
    """Mean squared distance of a sample's frames from their mean, (B,)."""
    if mask_VB is None:
        return (values_VBF - values_VBF.mean(dim=0)).square().sum(dim=2).mean(dim=0)
    real_VB1 = mask_VB[..., None].to(values_VBF.dtype)
    count_B1 = real_VB1.sum(dim=0)
    mean_BF = (values_VBF * real_VB1).sum(dim=0) / count_B1
    squared_VB1 = (values_VBF - mean_BF).square().sum(dim=2, keepdim=True)
    return (squared_VB1 * real_VB1).sum(dim=0).div(count_B1)[:, 0]
