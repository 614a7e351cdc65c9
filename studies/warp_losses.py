"""Losses of the warp that count structure instead of colours, in place of the mean absolute difference.

All are of frames in [-1, 1], per sample, with padding left out, like `fabnet.training.objective.every_view_loss`, which
`replacing` replaces for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

Difference = Callable[[Tensor, Tensor], Tensor]
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def gradients(made_NCHW: Tensor, true_NCHW: Tensor) -> Tensor:
    """Mean absolute difference of colours and, five times as heavy, of what neighbouring pixels differ by, (N,).

    Args:
        made_NCHW: generated frames.
        true_NCHW: what they should be.
    """
    off_NCHW = made_NCHW - true_NCHW
    across, down = (off_NCHW.diff(dim=dim).abs().mean(dim=(1, 2, 3)) for dim in (3, 2))
    return off_NCHW.abs().mean(dim=(1, 2, 3)) + 2.5 * (across + down)


def ssim(made_NCHW: Tensor, true_NCHW: Tensor) -> Tensor:
    """As Monodepth weighs them (Godard and others 2017): 0.85 (1 - SSIM) / 2 over windows of 3 x 3, 0.15 |difference|.

    Args:
        made_NCHW: generated frames.
        true_NCHW: what they should be.
    """
    a, b = (made_NCHW + 1) / 2, (true_NCHW + 1) / 2
    mean_a, mean_b, square_a, square_b, product = (
        functional.avg_pool2d(each, 3, stride=1) for each in (a, b, a * a, b * b, a * b)
    )
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    spread = (square_a - mean_a**2) + (square_b - mean_b**2)
    structure = (2 * (product - mean_a * mean_b) + 0.03**2) / (spread + 0.03**2)
    apart_N = ((1 - luminance * structure) / 2).clamp(0, 1).mean(dim=(1, 2, 3))
    return 0.85 * apart_N + 0.15 * (a - b).abs().mean(dim=(1, 2, 3))


def census(made_NCHW: Tensor, true_NCHW: Tensor) -> Tensor:
    """Soft census (Meister and others 2018, UnFlow): signs of differences to the 8 neighbours; and 0.5 |difference|.

    Args:
        made_NCHW: generated frames.
        true_NCHW: what they should be.
    """
    grey = torch.tensor(_GREY, device=made_NCHW.device)[:, None, None]

    def signs(frames_NCHW: Tensor) -> Tensor:
        grey_N1HW = (frames_NCHW * grey).sum(dim=1, keepdim=True) / 2
        size = grey_N1HW.shape[-1]
        padded = functional.pad(grey_N1HW, (1, 1, 1, 1), mode="replicate")
        places = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
        around = torch.cat([padded[..., row : row + size, column : column + size] for row, column in places], dim=1)
        apart = around - grey_N1HW
        return apart / (0.02**2 + apart.square()).sqrt()

    off = (signs(made_NCHW) - signs(true_NCHW)).square()
    differs_N = (off / (0.1 + off)).mean(dim=(1, 2, 3))
    return differs_N + 0.5 * (made_NCHW - true_NCHW).abs().mean(dim=(1, 2, 3))


LOSSES: dict[str, Difference] = {"gradients": gradients, "ssim": ssim, "census": census}


@contextmanager
def replacing(name: str | None) -> Iterator[None]:
    """Steps minimise, and validations tell, another loss of networks that make every view from all others.

    Args:
        name: of LOSSES; None leaves the loss as it is.
    """
    from fabnet.training import step

    if name is None:
        yield
        return
    with mock.patch.object(step, "every_view_loss", _of_every_view(LOSSES[name])):
        yield


def _of_every_view(difference: Difference) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    def loss(generated_VKBCHW: Tensor, views_VBCHW: Tensor, mask_VB: Tensor | None) -> Tensor:
        views, kinds, batch = generated_VKBCHW.shape[:3]
        if kinds != 1:
            raise ValueError("these losses are of networks that merge all sources")
        losses_VB = difference(generated_VKBCHW.flatten(0, 2), views_VBCHW.flatten(0, 1)).unflatten(0, (views, batch))
        if mask_VB is None:
            return losses_VB.mean(dim=0)
        return losses_VB.where(mask_VB, 0).sum(dim=0) / mask_VB.sum(dim=0)

    return loss
