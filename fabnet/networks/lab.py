"""Colours as lightness and two opponent axes, CIE L*a*b*, which split-brain learns to tell from each other."""

import torch
from torch import Tensor
from torch.nn import functional

#: Linear sRGB to XYZ (IEC 61966-2-1), its rows divided by the white of D65, so that white is (1, 1, 1).
_TO_XYZ = torch.tensor(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    dtype=torch.float64,
)
_TO_XYZ = (_TO_XYZ / _TO_XYZ.sum(dim=1, keepdim=True)).float()

#: Range of lightness, and the largest |a| and |b| that are told apart: colours of sRGB stay within it.
_LIGHTNESS, _OPPONENT = 100.0, 110.0
#: Cube roots of X, Y, Z to L* / 50 - 1, a* / 110 and b* / 110.
_TO_LAB = torch.tensor(
    [
        [0, 116 * 2 / _LIGHTNESS, 0],
        [500 / _OPPONENT, -500 / _OPPONENT, 0],
        [0, 200 / _OPPONENT, -200 / _OPPONENT],
    ]
)
_SHIFT = torch.tensor([16 * 2 / _LIGHTNESS + 1, 0, 0])
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # CIE 15: where the cube root gives way to a line


def to_lab(image_B3HW: Tensor) -> Tensor:
    """sRGB in [-1, 1] to L*, a*, b*, (B, 3, H, W) float32, in units of their ranges: all in [-1, 1].

    L* from 0 to 100 becomes -1 to 1; a* and b* are divided by 110. White is D65.
    """
    with torch.autocast(image_B3HW.device.type, enabled=False):  # bfloat16 has not the digits for it
        encoded = image_B3HW.float().add(1).mul_(0.5).clamp_(0, 1)
        linear = torch.where(encoded <= 0.04045, encoded / 12.92, encoded.add(0.055).div_(1.055).pow_(2.4))
        xyz = functional.conv2d(linear, _TO_XYZ.to(linear.device)[:, :, None, None])
        root = torch.where(xyz > _EPSILON, xyz.clamp_min(_EPSILON).pow_(1 / 3), xyz * (_KAPPA / 116) + 16 / 116)
        lab_B3HW = functional.conv2d(root, _TO_LAB.to(root.device)[:, :, None, None])
        return lab_B3HW.sub_(_SHIFT.to(root.device)[:, None, None])
