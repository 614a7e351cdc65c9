"""Bilinear x2 upsampling followed by a 3x3 convolution, without making the upsampled map.

Both are linear, so that they may change places: mixing the channels of the small map, once per tap of the kernel, and
then upsampling, shifting and adding is the same function (up to rounding). Upsampling and shifting along one axis is a
constant matrix, hence three matrix products, which need a quarter to a half of the multiply-adds of the convolution on
the large map where there are more channels than rows, and a fraction of the memory where it has few outputs.
"""

import torch
from torch import Tensor
from torch.nn import functional


def axis_matrix(size: int, dtype: torch.dtype = torch.float32, align_corners: bool = True) -> Tensor:
    """Upsampling of an axis from h = `size` to 2 h points, seen from the three taps of a kernel: (2 h, 3, h).

    Entry (Y, k, y) is the weight of point y in the upsampled point Y + k - 1, and 0 where that lies outside.
    """
    padded = functional.pad(upsampling_matrix(size, 2, align_corners, torch.float64), (0, 0, 1, 1))
    return torch.stack([padded[tap : tap + 2 * size] for tap in range(3)], dim=1).to(dtype)


def upsampling_matrix(size: int, factor: int, align_corners: bool = True, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bilinear upsampling of an axis from h = `size` to H = `factor` h points, (H, h)."""
    each = torch.eye(size, dtype=torch.float64)[:, None, :, None]
    upsampled = functional.interpolate(each, size=(factor * size, 1), mode="bilinear", align_corners=align_corners)
    return upsampled[:, 0, :, 0].T.to(dtype)


def pays(size: int, channels_in: int, channels_out: int) -> bool:
    """Whether `convolve_upsampled` is the faster way, for a map of `size` before upsampling.

    Its multiply-adds beside the convolution's are 1/4 + 5/6 size / channels_in. Few outputs leave a convolution waiting
    for memory in any case.
    """
    return channels_out < 16 or size < 0.9 * channels_in


def convolve_upsampled(image_BChw: Tensor, weight_OC33: Tensor, bias_O: Tensor, axis_H3h: Tensor) -> Tensor:
    """conv2d(upsample(image), weight, bias, padding=1), (B, O, 2 h, 2 h), channels last.

    Args:
        image_BChw: square, best with channels last in memory.
        axis_H3h: `axis_matrix(h)`.
    """
    batch, channels, size, _ = image_BChw.shape
    outputs = len(weight_OC33)
    taps_C = weight_OC33.permute(2, 0, 3, 1).reshape(-1, channels)  # rows: (tap of y, output, tap of x)
    mixed = torch.matmul(image_BChw.permute(0, 2, 3, 1).reshape(-1, channels), taps_C.T)
    mixed = mixed.view(batch, size, size, 3 * outputs, 3).permute(0, 1, 3, 4, 2).reshape(-1, 3 * size)
    wide = torch.matmul(mixed, axis_H3h.flatten(1).T)  # rows: (sample, y, tap of y, output); columns: X
    wide = wide.view(batch, 3 * size, outputs * 2 * size)
    tall = torch.matmul(axis_H3h.transpose(1, 2).flatten(1), wide)  # (sample, Y, (output, X))
    output = tall.view(batch, 2 * size, outputs, 2 * size).transpose(1, 2) + bias_O.to(tall.dtype)[:, None, None]
    return output.contiguous(memory_format=torch.channels_last)
