"""Landmarks of a face as points on the very curves the renderer paints between."""

import math

import numpy as np

from fabnet.synthetic.features import Brow, Eye, Features, Mouth, Nose, features
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.portable import sin_cos, unit
from fabnet.synthetic.relief import noise_of, relief
from fabnet.synthetic.render import project
from fabnet.synthetic.shape import Head
from fabnet.synthetic.state import FaceState

#: Points of the jaw line.
_JAW = 17

#: Length of the rays that look for the surface, in head units.
_REACH = 3.0


def landmarks68(identity: Identity, state: FaceState, size: int) -> np.ndarray:
    """The 68 points of the iBUG scheme, (68, 2) float64 in continuous pixels.

    0-16 jaw from the image's left, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 lips, for a frontal face. They are points
    of the surface: the ones that the head itself hides, and the jaw's, are given as in 3-D annotations.

    Args:
        identity: the person.
        state: pose, expression and so on.
        size: side of the image in pixels.
    """
    face = features(identity, state)
    head = Head(identity, face, relief(identity, state, face), noise_of(identity.seed), hairy=False)
    flat = np.concatenate(
        [
            _brow(face.brows[0])[::-1],
            _brow(face.brows[1]),
            _nose(face.nose),
            _eye(face.eyes[0]),
            _eye(face.eyes[1]),
            _mouth(face.mouth),
        ]
    )
    jaw, falling = _jaw_rays(face), _falling_rays(flat)
    # One cast for both: its steps cost the same for 17 rays as for 68.
    start, direction = (np.concatenate(rays, axis=1).astype(np.float32) for rays in zip(jaw, falling, strict=True))
    reach = np.full(start.shape[1], _REACH, np.float32)
    surface = head.cast(start, direction, np.zeros_like(reach), reach, precision=1e-4)
    points = np.column_stack([surface.x, surface.y, surface.z]).astype(np.float64)
    points[_JAW:, :2] = flat
    return project(points, state, size)


def landmarks5(points: np.ndarray) -> np.ndarray:
    """The 5 points of MAFL, (5, 2), of 68 points: eye centres, nose tip, mouth corners, left in the image first."""
    points = np.asarray(points, np.float64).reshape(68, 2)
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])


def _falling_rays(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and directions, (3, N), of rays that fall from before the face on points (N, 2) of its plane."""
    start = np.vstack([points.T, np.full(len(points), 1.4)])
    return start, np.broadcast_to(np.array([0, 0, -1])[:, None], start.shape)


def _jaw_rays(face: Features) -> tuple[np.ndarray, np.ndarray]:
    """Starts and directions, (3, 17), of rays that meet the jaw from without, from ear over chin to ear."""
    target = np.array([_jaw_start(180 * step / (_JAW - 1) - 90, face.jaw_drop) for step in range(_JAW)]).T
    centre = np.array([0, -0.05, 0.10])[:, None]
    return target, unit(centre - target)


def _jaw_start(degrees: float, drop: float) -> tuple[float, float, float]:
    """A point of a bowl about the jaw: level with the ears at its ends, low and forward at the chin."""
    sine, cosine = sin_cos(degrees)
    low = math.sqrt(cosine)
    low *= math.sqrt(low) * math.sqrt(math.sqrt(low))  # the cosine to the power of 7/8
    way = abs(degrees) / 90
    return (
        1.25 * sine,
        -0.02 - (1.30 + drop) * low - 0.12 * sin_cos(2 * abs(degrees))[0],
        0.62 - 0.58 * way * math.sqrt(math.sqrt(way)),
    )


def _brow(brow: Brow) -> np.ndarray:
    """5 points along the brow's middle, from its inner to its outer end."""
    x = brow.x[0] + np.linspace(0.03, 0.97, 5) * (brow.x[2] - brow.x[0])
    return np.column_stack([x, brow.curve(x)])


def _nose(nose: Nose) -> np.ndarray:
    bridge = [(0.0, nose.bridge + t * (nose.tip - nose.bridge)) for t in (0, 1 / 3, 2 / 3, 1)]
    base = [(f * nose.width, nose.base - 0.012 - 0.022 * (1 - abs(f) / 0.95)) for f in (-0.95, -0.5, 0, 0.5, 0.95)]
    return np.asarray(bridge + base)


def _eye(eye: Eye) -> np.ndarray:
    """6 points from the corner at the image's left, over the upper lid, back along the lower lid."""
    s = np.array([-1, -0.36, 0.36, 1]) * eye.side
    upper, lower = eye.lids(s)
    x = eye.x + s * eye.side * eye.width
    order = [(x[0], upper[0]), (x[1], upper[1]), (x[2], upper[2]), (x[3], upper[3]), (x[2], lower[2]), (x[1], lower[1])]
    return np.asarray(order)


def _mouth(mouth: Mouth) -> np.ndarray:
    """12 outer and 8 inner points, each from the left corner over the upper lip and back along the lower lip."""
    outer = np.array([-1, -0.62, -0.24, 0, 0.24, 0.62, 1])
    top, bottom = mouth.outer(outer)
    inner = np.array([-0.9, -0.35, 0, 0.35, 0.9])
    inner_top, inner_bottom = mouth.inner(inner)
    low = slice(-2, 0, -1)
    points = [
        np.column_stack([outer, top]),
        np.column_stack([outer[low], bottom[low]]),
        np.column_stack([inner, np.where(np.abs(inner) > 0.8, (inner_top + inner_bottom) / 2, inner_top)]),
        np.column_stack([inner[low], inner_bottom[low]]),
    ]
    return np.concatenate(points) * (mouth.width, 1.0)
