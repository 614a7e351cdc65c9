"""Augmentation of a batch on the device it is on: mirror images, and crops that jitter."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fabnet.frames.pairs import FLIP, SCALE, SHIFT_X, SHIFT_Y, uniform

# Views of one sample take slots this far apart.
_VIEW = 16


def to_float(images_NHWC: Tensor) -> Tensor:
    """uint8 (..., H, W, 3) to float32 (..., 3, H, W) in [-1, 1]; the memory stays channels-last."""
    images_NCHW = images_NHWC.movedim(-1, -3)
    return images_NCHW.float().mul_(2 / 255).sub_(1)


def flip(views_VBCHW: Tensor, seed: int, index: NDArray[np.int64]) -> Tensor:
    """Mirror all views of a sample, half of the samples.

    Args:
        views_VBCHW: of B samples.
        seed: of the run.
        index: numbers of the samples, (B,).
    """
    chosen = torch.from_numpy(uniform(seed, index, FLIP) < 0.5).to(views_VBCHW.device, non_blocking=True)
    return torch.where(chosen[None, :, None, None, None], views_VBCHW.flip(-1), views_VBCHW)


def jitter(views_VBCHW: Tensor, amount: float, seed: int, index: NDArray[np.int64]) -> Tensor:
    """Crop a random square from every view, differently per view, and resize it back.

    The side of the square is uniform in [1 - amount, 1] of the frame's and its place uniform within the frame.

    Args:
        views_VBCHW: of B samples, in [-1, 1].
        amount: largest share of the side that is cut off, 0 to 1.
        seed: of the run.
        index: numbers of the samples, (B,).
    """
    views, batch, _, size, _ = views_VBCHW.shape
    theta = np.zeros((views, batch, 2, 3), dtype=np.float32)
    for view in range(views):
        scale = 1 - amount * uniform(seed, index, SCALE + _VIEW * (view + 1))
        theta[view, :, 0, 0] = theta[view, :, 1, 1] = scale
        theta[view, :, 0, 2] = (1 - scale) * (2 * uniform(seed, index, SHIFT_X + _VIEW * (view + 1)) - 1)
        theta[view, :, 1, 2] = (1 - scale) * (2 * uniform(seed, index, SHIFT_Y + _VIEW * (view + 1)) - 1)
    flat = views_VBCHW.flatten(0, 1)
    grid = functional.affine_grid(
        torch.from_numpy(theta).flatten(0, 1).to(flat.device, non_blocking=True),
        [len(flat), 3, size, size],
        align_corners=True,
    )
    return functional.grid_sample(flat, grid, mode="bilinear", align_corners=True).unflatten(0, (views, batch))
