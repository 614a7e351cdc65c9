"""What lies on the head's plain shape, as smooth maps over the face plane: height, creases, blush.

A map is a sum of Gaussians with axes along x and y, so a whole sum is one product of two small matrices. Noise adds the
smooth random patterns of an identity: strands of hair, pores and freckles.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from fabnet.synthetic.features import SIDES, Brow, Features, Mouth, Nose
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.portable import bell, exact_product, falloff, normal
from fabnet.synthetic.state import FaceState

_STRANDS = 512
_SKIN = 128

#: Node spacing and extent of the maps, in head units.
STEP = 0.02
_X = np.arange(-1.0, 1.0 + STEP / 2, STEP, dtype=np.float32)
_Y = np.arange(-1.35, 1.1 + STEP / 2, STEP, dtype=np.float32)
_ROOT = np.float32(math.sqrt(2))

#: One Gaussian: centre x, y, standard deviations x, y, amplitude.
Bump = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Noise:
    strands: np.ndarray  # (_STRANDS,) float32, periodic, mean 0, about unit deviation
    skin: np.ndarray  # (_SKIN, _SKIN) float32, periodic in both, mean 0, about unit deviation

    def strand(self, u: np.ndarray) -> np.ndarray:
        """Periodic with period 1."""
        at = (u - np.floor(u)) * np.float32(_STRANDS)
        low = at.astype(np.int32)
        part = at - low
        first = self.strands[low % _STRANDS]
        return first + part * (self.strands[(low + 1) % _STRANDS] - first)

    def grain(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Nearest value; periodic with period 1 in both.

        Args:
            u, v: of the same shape.
        """
        column = (u * np.float32(_SKIN)).astype(np.int32) % _SKIN
        row = (v * np.float32(_SKIN)).astype(np.int32) % _SKIN
        return self.skin[row, column]


@lru_cache(maxsize=8)
def noise_of(seed: int) -> Noise:
    rng = np.random.default_rng([seed, 1])
    strands = np.sum([_smooth(normal(rng, _STRANDS), width) for width in (2.0, 5.0, 14.0)], axis=0)
    skin = normal(rng, _SKIN, _SKIN)
    skin = _smooth(_smooth(skin, 1.0).T, 1.0).T
    return Noise(_standard(strands), _standard(skin))


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    """Periodic Gaussian blur along the last axis, to unit deviation."""
    # Not by a Fourier transform: its sines and cosines are the C library's.
    count, reach = values.shape[-1], math.ceil(3.5 * width)
    weights = falloff(0.5 * np.square(np.arange(-reach, reach + 1) / width))
    around = np.concatenate([values[..., -reach:], values, values[..., :reach]], axis=-1)
    blurred = np.zeros_like(values)
    for start, weight in enumerate(weights):
        blurred += weight * around[..., start : start + count]
    return blurred / blurred.std()


def _standard(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / values.std()).astype(np.float32)


@dataclass(frozen=True)
class Relief:
    """Maps over the face plane, (rows of y, columns of x, 5): height, its slopes in x and y, creases, redness."""

    maps: np.ndarray

    def sample(self, x: np.ndarray, y: np.ndarray, channels: int) -> np.ndarray:
        """The first `channels` channels (N, channels) at points, bilinearly; beyond the edges the edge.

        Args:
            x, y: of the points, (N,), in head units.
            channels: how many of the maps.
        """
        rows, columns, _ = self.maps.shape
        u, left = _cells(x, _X[0], columns)
        v, low = _cells(y, _Y[0], rows)
        flat = self.maps[..., :channels].reshape(rows * columns, channels) if channels > 1 else self._heights
        low *= np.float32(columns)
        low += left
        at = low.astype(np.intp)
        if channels > 1:
            u, v = u[:, None], v[:, None]
        below = flat.take(at, axis=0)
        above = flat[columns:].take(at, axis=0)
        step = flat[1:].take(at, axis=0)
        step -= below
        step *= u
        below += step
        step = flat[columns + 1 :].take(at, axis=0)
        step -= above
        step *= u
        above += step
        above -= below
        above *= v
        below += above
        return below

    @cached_property
    def _heights(self) -> np.ndarray:
        return np.ascontiguousarray(self.maps[..., 0]).ravel()


def _cells(place: np.ndarray, first: np.float32, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places as shares of their cells, and the numbers of these, float32, among nodes that begin at `first`."""
    part = place - first
    part *= np.float32(1 / STEP)
    np.maximum(part, 0, out=part)
    np.minimum(part, np.float32(count - 1.001), out=part)
    cell = np.floor(part)
    part -= cell
    return part, cell


# A labelled face is drawn and measured in the same state.
@lru_cache(maxsize=2)
def relief(identity: Identity, state: FaceState, face: Features) -> Relief:
    """Build the maps of a face in this state.

    Args:
        identity: the person.
        state: pose, expression and so on.
        face: places of the features.
    """
    units = state.by_number()
    height = _sum(
        _nose_heights(face.nose, units)
        + _eye_heights(face, units)
        + _cheek_heights(identity, face, units)
        + _mouth_heights(identity, face.mouth, units)
        + _chin_heights(identity, face, units)
    )
    creases = _sum(_creases(identity, face, units))
    redness = _sum(_redness(identity, face))
    height -= 0.016 * np.minimum(creases, 1.5)
    slope_y, slope_x = np.gradient(height, STEP)
    return Relief(np.stack([height, slope_x, slope_y, creases, redness], axis=-1).astype(np.float32))


def _sum(bumps: list[Bump]) -> np.ndarray:
    table = np.asarray(bumps, np.float32)
    across = bell((_X - table[:, 0:1]) / (_ROOT * table[:, 2:3]))
    up = bell((_Y - table[:, 1:2]) / (_ROOT * table[:, 3:4]))
    up *= table[:, 4:5]
    return exact_product(up.T, across)


def _stroke(
    start: tuple[float, float], end: tuple[float, float], thickness: float, amplitude: float, bend: float = 0.0
) -> list[Bump]:
    """A soft line as a row of round bumps; `bend` bows it to the left of its direction."""
    if not amplitude:
        return []
    right, up = end[0] - start[0], end[1] - start[1]
    length = math.sqrt(right * right + up * up)
    count = max(3, int(length / (1.1 * thickness)) + 1)
    normal = (-up / length, right / length)
    bumps = []
    for index in range(count):
        t = index / (count - 1)
        bow = bend * 4 * t * (1 - t)
        x = start[0] + t * right + bow * normal[0]
        y = start[1] + t * up + bow * normal[1]
        taper = 0.5 + 2 * t * (1 - t)
        bumps.append((x, y, thickness, thickness, amplitude * taper))
    return bumps


# -- height -------------------------------------------------------------------------------------------------------


def _nose_heights(nose: Nose, units: dict[int, float]) -> list[Bump]:
    bumps: list[Bump] = []
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = nose.bridge + t * (nose.tip + 0.03 - nose.bridge)
        bulk = t * math.sqrt(math.sqrt(t))
        bumps.append((0, y, 0.050 + 0.022 * t, 0.075, nose.height * (0.14 + 0.20 * bulk)))
    bumps.append((0, nose.tip, 0.075, 0.055, 0.30 * nose.height))
    for side in SIDES:
        bumps.append(
            (side * nose.width * 0.74, nose.base + 0.035, 0.045, 0.045, 0.26 * nose.height * (1 + 0.25 * units[9]))
        )
        # The wing ends in a groove against the cheek.
        bumps.append((side * nose.width * 1.38, nose.base + 0.035, 0.035, 0.055, -0.030))
    bumps.append((0, nose.base - 0.07, 0.028, 0.035, -0.012))  # philtrum
    return bumps


def _eye_heights(face: Features, units: dict[int, float]) -> list[Bump]:
    bumps: list[Bump] = []
    for brow, eye in zip(face.brows, face.eyes, strict=True):
        bumps.append((eye.x, eye.y + 0.02, 0.155, 0.095, -0.085))
        bumps.append((eye.side * 0.11, eye.y + 0.03, 0.05, 0.08, -0.045))
        bumps.append((eye.x, eye.y + 0.005, 0.085, 0.062, 0.062))
        bumps.extend(_brow_heights(brow, units))
        bumps.append((eye.x, eye.y - 0.125, 0.11, 0.03, 0.008 + 0.030 * units[6]))  # the bag below the eye
    return bumps


def _brow_heights(brow: Brow, units: dict[int, float]) -> list[Bump]:
    x = np.linspace(brow.x[0], brow.x[2], 4)
    ridge = 0.030 + 0.022 * units[4]
    return [(float(a), float(b), 0.085, 0.052, ridge) for a, b in zip(x, brow.curve(x) - 0.015, strict=True)]


def _cheek_heights(identity: Identity, face: Features, units: dict[int, float]) -> list[Bump]:
    bumps: list[Bump] = []
    for side, smile in zip(SIDES, face.smile, strict=True):
        raised = max(0.9 * units[6], 0.75 * smile, 0.35 * units[9])
        bumps.append((side * 0.44, -0.20 + 0.05 * raised, 0.15, 0.12, 0.030 * identity.cheek + 0.055 * raised))
        bumps.append((side * 0.46, -0.52, 0.11, 0.15, -0.022 * (1.2 - 0.4 * identity.cheek)))
    bumps.append((0, 0.48, 0.30, 0.16, 0.018))  # forehead
    return bumps


def _mouth_heights(identity: Identity, mouth: Mouth, units: dict[int, float]) -> list[Bump]:
    bumps: list[Bump] = [(0, mouth.y, 0.24, 0.15, 0.045)]
    along = np.linspace(-0.8, 0.8, 7)
    edges = np.stack([along, *mouth.outer(along), *mouth.inner(along)], axis=1)
    for s, top, low, inner_top, inner_low in edges.tolist():
        full = 1 - 0.75 * s * s
        x = s * mouth.width
        bumps.append((x, (top + inner_top) / 2, 0.045, 0.026, 0.030 * full))
        bumps.append((x, (low + inner_low) / 2, 0.048, 0.028, (0.036 + 0.025 * units[17]) * full))
        bumps.append((x, (inner_top + inner_low) / 2, 0.05, 0.014, -0.022 * full))
    for side, corner in zip(SIDES, mouth.corners, strict=True):
        bumps.append((side * (mouth.width + 0.015), mouth.y + corner, 0.03, 0.03, -0.022 - 0.012 * units[20]))
    return bumps


def _chin_heights(identity: Identity, face: Features, units: dict[int, float]) -> list[Bump]:
    drop, mouth = face.jaw_drop, face.mouth
    raised = 0.02 * units[17]
    return [
        (0, mouth.lowest - 0.045, 0.12, 0.028, -0.030 - 0.030 * units[17]),
        (0, -0.865 - drop + raised, 0.125, 0.075, 0.040 * identity.chin + 0.045 * units[17]),
    ]


# -- creases and colour -------------------------------------------------------------------------------------------


def _creases(identity: Identity, face: Features, units: dict[int, float]) -> list[Bump]:
    lines: list[Bump] = []
    forehead = identity.eye_y + identity.brow_y
    for number, y in enumerate((0.13, 0.205, 0.28)):
        middle = 0.95 * units[1] * (1, 0.9, 0.6)[number]
        lines += _stroke((-0.19, forehead + y + 0.04), (0.19, forehead + y + 0.04), 0.015, middle, bend=0.015)
        for side in SIDES:
            outer = 0.8 * units[2] * (1, 0.85, 0.5)[number]
            lines += _stroke(
                (side * 0.21, forehead + y + 0.05), (side * 0.44, forehead + y + 0.01), 0.015, outer, bend=0.0
            )
    nose, mouth = face.nose, face.mouth
    for side, eye, smile, corner in zip(SIDES, face.eyes, face.smile, mouth.corners, strict=True):
        lines += _stroke((side * 0.045, forehead - 0.06), (side * 0.05, forehead + 0.13), 0.015, 1.1 * units[4])
        for slope in (0.07, 0.0, -0.08):
            start = (side * (abs(eye.x) + eye.width + 0.035), eye.y + 0.5 * slope)
            lines += _stroke(start, (start[0] + side * 0.10, start[1] + slope), 0.014, 0.75 * units[6])
        lines += _stroke(
            (eye.x - 0.11, eye.y - 0.105), (eye.x + 0.11, eye.y - 0.105), 0.015, 0.10 + 0.55 * units[6], bend=-0.03
        )
        for y in (0.02, -0.045, -0.11):
            lines += _stroke(
                (side * 0.015, nose.bridge + y), (side * 0.085, nose.bridge + y + 0.045), 0.014, 0.85 * units[9]
            )
        # From the wing of the nose around the corner of the mouth.
        fold = 0.16 + 0.55 * max(smile, 0.8 * units[9], 0.35 * units[20], 0.3 * units[6])
        lines += _stroke(
            (side * (nose.width + 0.035), nose.base + 0.07),
            (side * (mouth.width + 0.055), mouth.y + corner + 0.02),
            0.020, fold, bend=-side * -0.025,
        )  # fmt: skip
        for distance in (0.07, 0.115):
            x = side * (mouth.width + distance)
            lines += _stroke((x, mouth.y + 0.055), (x, mouth.y - 0.085), 0.015, 0.75 * units[20] * (1 - 0.5 * smile))
        lines += _stroke(
            (side * (mouth.width + 0.01), mouth.y + corner),
            (side * (mouth.width + 0.05), mouth.y + corner - 0.05),
            0.015,
            0.6 * units[17],
        )
    lines.append((0, mouth.lowest - 0.035, 0.10, 0.020, 0.18 + 0.5 * units[17]))
    for x, y in ((-0.05, 0.0), (0.05, 0.01), (0.0, 0.04), (-0.02, -0.035), (0.035, -0.04)):
        lines.append((x, -0.86 - face.jaw_drop + y, 0.014, 0.014, 0.7 * units[17]))
    lines.append((0, nose.base - 0.012, 0.8 * nose.width, 0.02, 0.18))  # shade under the nose
    return lines


def _redness(identity: Identity, face: Features) -> list[Bump]:
    cheek = identity.blush + 0.25 * max(face.smile)
    return [(0, face.nose.tip, 0.09, 0.07, 0.2), *((side * 0.42, -0.22, 0.16, 0.12, cheek) for side in SIDES)]
