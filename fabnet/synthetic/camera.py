"""From head coordinates to pixels and back.

Head coordinates: x to the image's right when frontal, y up, z towards the camera; the origin lies inside the head and
the distance from chin to crown is about 2. Pixels are continuous: the image spans [0, size], pixel centres lie at
integer + 0.5.
"""

import numpy as np

from fabnet.synthetic.state import FaceState

#: Distance of the camera in head units: a portrait lens.
DISTANCE = 7.0

#: Pixels per head unit, and the head's origin, in fractions of the image's side at scale 1 without shift.
HEAD_SCALE = 0.425
HEAD_CENTRE = (0.5, 0.475)


def rotation(state: FaceState) -> np.ndarray:
    """The (3, 3) float64 matrix that takes head to camera coordinates: roll after yaw after pitch."""
    yaw, pitch, roll = np.radians([state.yaw, state.pitch, state.roll])
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return tilt @ turn @ nod


def placement(state: FaceState, size: int) -> tuple[float, float, float]:
    """Pixel of the head's origin (x, y), and pixels per head unit at its depth."""
    x = (HEAD_CENTRE[0] + state.shift[0]) * size
    y = (HEAD_CENTRE[1] + state.shift[1]) * size
    return float(x), float(y), float(HEAD_SCALE * state.scale * size)


def project(points: np.ndarray, state: FaceState, size: int) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in head coordinates."""
    x, y, scale = placement(state, size)
    turned = points @ rotation(state).T
    near = scale * DISTANCE / (DISTANCE - turned[:, 2])
    return np.stack([x + near * turned[:, 0], y - near * turned[:, 1]], axis=1)


def rays(columns: np.ndarray, rows: np.ndarray, state: FaceState, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rays through the centres of pixels (columns, rows), in head coordinates.

    Returns:
        origin (3,) and unit directions (3, N), float32.
    """
    x, y, scale = placement(state, size)
    across = (columns + np.float32(0.5 - x)) / np.float32(scale)
    up = (np.float32(y - 0.5) - rows) / np.float32(scale)
    length = np.sqrt(across * across + up * up + np.float32(DISTANCE**2))
    back = rotation(state).T.astype(np.float32)
    direction = np.stack([across / length, up / length, np.float32(-DISTANCE) / length])
    return (back @ np.array([0, 0, DISTANCE], np.float32)), back @ direction
