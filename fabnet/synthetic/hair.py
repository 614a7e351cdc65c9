"""Paints hair and glasses."""

import math

import numpy as np

from fabnet.synthetic.features import Features
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.layers import Canvas, linear, smoothstep
from fabnet.synthetic.portable import angle, hypot
from fabnet.synthetic.shape import Head


def paint_hair(canvas: Canvas, identity: Identity, head: Head, hanging: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paint the hair.

    Args:
        hanging: share (N,) of each point that is hanging hair.

    Returns:
        how much of each point is hair (N,), and the brightness of its strand (N,), about 0 on average.
    """
    x, y, z = canvas.x, canvas.y, canvas.z
    if not head.thickness:
        return np.zeros_like(x), np.zeros_like(x)
    around = angle(x - np.float32(0.25 * identity.hair_part), z + np.float32(0.35))
    wave = _wave(5 * y + np.float32(identity.seed % 7))
    strand = head.noise.strand(np.float32(0.55) * around + wave + np.float32(0.06) * y)
    behind = head.hairline(x, y, z) + np.float32(0.014) * strand
    cover = smoothstep(-0.03, 0.045 + 0.5 * canvas.pixel, behind)
    cover = np.maximum(cover, hanging)
    if identity.hair_style == "cropped":
        cover = cover * np.float32(0.88)
    everywhere = np.arange(len(x))
    # Hair is darker in its depth: near its edge and low behind the ears.
    shade = np.clip(1 + np.float32(0.24) * strand, 0.35, 1.7) * (
        0.74 + 0.26 * np.maximum(smoothstep(0.0, 0.25, behind), hanging)
    )
    canvas.paint(everywhere, cover, (linear(identity.hair_color) + np.float32(0.006)) * shade[:, None])
    canvas.gloss *= 1 - cover
    return cover, strand


def _wave(phase: np.ndarray) -> np.ndarray:
    """Periodic as the sine, between -0.035 and 0.035, of parabolas."""
    turns = phase * np.float32(1 / (2 * math.pi))
    turns -= np.floor(turns)
    half = turns - np.float32(0.5)
    return np.float32(-0.035 * 16) * half * (np.float32(0.5) - np.abs(half))


def glasses(
    identity: Identity, face: Features, origin: np.ndarray, direction: np.ndarray, surface_t: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Opacity of the frame and of the lenses (N,) each along rays (3, N); `surface_t` is where the head is met."""
    depth = np.float32(0.88 * identity.depth)
    t = (depth - origin[2]) / np.minimum(direction[2], np.float32(-1e-3))
    x, y = np.abs(origin[0] + t * direction[0]), origin[1] + t * direction[1]
    before = smoothstep(0.0, 0.03, surface_t - t) * (direction[2] < -0.05)
    centre_x, centre_y = identity.eye_x + 0.012, identity.eye_y - 0.02
    if identity.glasses == "round":
        depth_in = 0.205 - hypot(x - centre_x, y - centre_y)
    else:
        across, up = np.abs(x - centre_x) - 0.165, np.abs(y - centre_y) - 0.115
        outside = hypot(np.maximum(across, 0), np.maximum(up, 0)) + np.minimum(np.maximum(across, up), 0)
        depth_in = 0.05 - outside
    width = 0.014
    bridge = np.where(x < 0.12, np.abs(y - centre_y - 0.05), 1.0) + np.where(depth_in > 0, 1.0, 0.0)
    distance = np.minimum(np.abs(depth_in), bridge)
    rim = np.clip((width - distance) / pixel + 0.5, 0, 1) * min(1.0, 2.4 * width / pixel)
    lens = np.clip(depth_in / pixel + 0.5, 0, 1)
    return (rim * before).astype(np.float32), (lens * before).astype(np.float32)


def paint_temples(canvas: Canvas, identity: Identity) -> None:
    """The arms of the glasses, on the sides of the head."""
    side = np.abs(canvas.x)
    at = np.flatnonzero((side > identity.eye_x + 0.2) & (np.abs(canvas.y - identity.eye_y) < 0.15) & (canvas.z > -0.1))
    canvas.paint(at, canvas.line(canvas.y[at] - identity.eye_y - 0.03, 0.018), linear(identity.glasses_color))
