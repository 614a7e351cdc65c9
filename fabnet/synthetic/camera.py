"""From head coordinates to pixels and back.

Head coordinates: x to the image's right when frontal, y up, z towards the camera; the origin lies inside the head and
the distance from chin to crown is about 2. Pixels are continuous: the image spans [0, size], pixel centres lie at
integer + 0.5.
"""

import numpy as np

from fabnet.synthetic.portable import dot, sin_cos
from fabnet.synthetic.state import FaceState

#: Distance of the camera in head units: a portrait lens.
DISTANCE = 7.0

#: Pixels per head unit, and the head's origin, in fractions of the image's side at scale 1 without shift.
HEAD_SCALE = 0.425
HEAD_CENTRE = (0.5, 0.475)


def rotation(state: FaceState) -> np.ndarray:
    """The (3, 3) float64 matrix that takes head to camera coordinates: roll after yaw after pitch."""
    (sy, cy), (sp, cp), (sr, cr) = sin_cos(state.yaw), sin_cos(state.pitch), sin_cos(state.roll)
    nodded = (0.0, cp, sp)
    turned = (cy, -sy * sp, sy * cp)
    tilted = [[cr * a + sr * b for a, b in zip(turned, nodded, strict=True)]]
    tilted.append([cr * b - sr * a for a, b in zip(turned, nodded, strict=True)])
    return np.array([*tilted, (-sy, -cy * sp, cy * cp)])


def placement(state: FaceState, size: int) -> tuple[float, float, float]:
    """Pixel of the head's origin (x, y), and pixels per head unit at its depth."""
    x = (HEAD_CENTRE[0] + state.shift[0]) * size
    y = (HEAD_CENTRE[1] + state.shift[1]) * size
    return float(x), float(y), float(HEAD_SCALE * state.scale * size)


def project(points: np.ndarray, state: FaceState, size: int) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in head coordinates."""
    x, y, scale = placement(state, size)
    across, up, towards = (dot(row, points.T) for row in rotation(state))
    near = scale * DISTANCE / (DISTANCE - towards)
    return np.stack([x + near * across, y - near * up], axis=1)


def rays(columns: np.ndarray, rows: np.ndarray, state: FaceState, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The rays through the centres of pixels (columns, rows), in head coordinates.

    Returns:
        origin (3,) and unit directions (3, N), float32.
    """
    x, y, scale = placement(state, size)
    across = (columns + np.float32(0.5 - x)) / np.float32(scale)
    up = (np.float32(y - 0.5) - rows) / np.float32(scale)
    length = np.sqrt(across * across + up * up + np.float32(DISTANCE * DISTANCE))
    back = rotation(state).T.astype(np.float32)
    direction = np.stack([(a * across + b * up - c * np.float32(DISTANCE)) / length for a, b, c in back])
    return back[:, 2] * np.float32(DISTANCE), direction
