"""Augmentation of a batch on the device it is on: mirror images, and crops that jitter and turn."""

import torch
from torch import Tensor
from torch.nn import functional

from fabnet.frames.pairs import FLIP, SCALE, SHIFT_X, SHIFT_Y, TURN, keys, uniform

# Views of one sample take slots this far apart.
_VIEW = 16


def to_float(images_NHWC: Tensor) -> Tensor:
    """uint8 (..., H, W, 3) to float32 (..., 3, H, W) in [-1, 1]; the memory stays channels-last."""
    images_NCHW = images_NHWC.movedim(-1, -3)
    return images_NCHW.float().mul_(2 / 255).sub_(1)


class Augmentation:
    """Mirrors, crops and turns at random; what is done to a sample is a function of the seed and its number.

    Args:
        seed: of the run.
        views: frames of a sample.
        mirror: mirror all views of a sample, half of the samples.
        jitter: crop a random square from every view, differently per view, and resize it back. Its side is uniform in
            [1 - jitter, 1] of the frame's and its place uniform within the frame; 0 crops nothing.
        turn: turn every view about its middle, differently per view, by an angle uniform in [-turn, turn], degrees
            clockwise. Where that shows what is beyond the frame, its edge is continued; 0 turns nothing.
        device: of the batches.
    """

    def __init__(self, seed: int, views: int, mirror: bool, jitter: float, turn: float, device: torch.device) -> None:
        self.mirror, self.jitter, self.turn, self.views = mirror, jitter, turn, views
        drawn = [slot + _VIEW * (view + 1) for slot in (SCALE, SHIFT_X, SHIFT_Y, TURN) for view in range(views)]
        self._keys = keys(seed, (FLIP, *drawn)).to(device)

    def __call__(self, views_VBCHW: Tensor, index_B: Tensor) -> Tensor:
        """Views in [-1, 1], augmented.

        Args:
            views_VBCHW: square frames of B samples.
            index_B: numbers of the samples, int64.
        """
        moves = self.jitter or self.turn
        if not (self.mirror or moves):
            return views_VBCHW
        draws = uniform(self._keys if moves else self._keys[:1], index_B)
        if self.mirror:
            chosen_B = draws[0] < 0.5
            views_VBCHW = torch.where(chosen_B[None, :, None, None, None], views_VBCHW.flip(-1), views_VBCHW)
        if moves:
            scale_VB, x_VB, y_VB, turn_VB = draws[1:].unflatten(0, (4, self.views))
            angle_VB = torch.deg2rad(self.turn * (2 * turn_VB - 1))
            views_VBCHW = _moved(views_VBCHW, 1 - self.jitter * scale_VB, x_VB, y_VB, angle_VB)
        return views_VBCHW


def _moved(views_VBCHW: Tensor, scale_VB: Tensor, x_VB: Tensor, y_VB: Tensor, angle_VB: Tensor) -> Tensor:
    """Squares of `scale` times the side, at (x, y) in [0, 1) of the way from the top left to the bottom right; what
    they show turns clockwise by `angle`, in radians."""
    views, batch, _, size, _ = views_VBCHW.shape
    left_VB, top_VB = ((1 - scale_VB) * (2 * place - 1) for place in (x_VB, y_VB))
    cos_VB, sin_VB = scale_VB * angle_VB.cos(), scale_VB * angle_VB.sin()
    theta = torch.stack((cos_VB, sin_VB, left_VB, -sin_VB, cos_VB, top_VB), dim=-1).float()
    flat = views_VBCHW.flatten(0, 1)
    grid = functional.affine_grid(theta.view(views * batch, 2, 3), [len(flat), 3, size, size], align_corners=True)
    moved = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return moved.unflatten(0, (views, batch))
