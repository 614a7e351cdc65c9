"""Sampling a frame along a flow.

Coordinates follow `torch.nn.functional.grid_sample` with align_corners=True: (x, y), with -1 and 1 at the centres of
the first and the last pixel.
"""

import torch
from torch import Tensor
from torch.nn import functional


def identity_grid(size: int, device: torch.device | str | None = None) -> Tensor:
    """The grid (1, size, size, 2) that samples every pixel at its own place.

    Args:
        size: side of the grid, in pixels.
        device: of the result.
    """
    axis = torch.linspace(-1, 1, size, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y), dim=-1)[None]


def warp(image_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """Move pixels: output(p) = image(clamp(p + flow(p), -1, 1)), bilinearly.

    Args:
        image_BCHW: frames, square.
        flow_B2HW: offsets (dx, dy) in the [-1, 1] coordinates of the frame; positive dx samples from the right.
    """
    # In float32 whatever the autocast: bfloat16 has 8 bits, less than a pixel's place at 256 px needs.
    flow_BHW2 = flow_B2HW.float().permute(0, 2, 3, 1)
    grid_BHW2 = (identity_grid(image_BCHW.shape[-1], image_BCHW.device) + flow_BHW2).clamp(-1, 1)
    return functional.grid_sample(image_BCHW.float(), grid_BHW2, mode="bilinear", align_corners=True)
