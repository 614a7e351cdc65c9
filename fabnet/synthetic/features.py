"""The curves of a face - brows, lids, nose, lips - as its identity and action units put them.

They live in the face plane: (x, y) of head coordinates. The renderer paints between them and the landmarks are points
on them, which is why the landmarks lie on the drawn features. `side` is -1 for the image's left of a frontal face, +1
for its right.
"""

from dataclasses import dataclass

import numpy as np

from fabnet.synthetic.identity import Identity
from fabnet.synthetic.portable import bell
from fabnet.synthetic.state import FaceState

SIDES = (-1, 1)


@dataclass(frozen=True)
class Brow:
    """A parabola through three points, thick at the nose and tapering outwards."""

    x: tuple[float, float, float]  # inner, middle, outer
    y: tuple[float, float, float]
    thickness: float

    def curve(self, x: np.ndarray) -> np.ndarray:
        (a, b, c), (p, q, r) = self.x, self.y
        slope = (q - p) / (b - a)
        bend = ((r - q) / (c - b) - slope) / (c - a)
        return p + (x - a) * (slope + bend * (x - b))

    def along(self, x: np.ndarray) -> np.ndarray:
        """0 at the inner end, 1 at the outer."""
        return (x - self.x[0]) / (self.x[2] - self.x[0])


@dataclass(frozen=True)
class Eye:
    side: int
    x: float
    y: float
    width: float  # half
    upper: float  # height of the upper lid above the line of the corners
    lower: float  # depth of the lower lid below it
    tilt: float  # rise of the outer corner over the inner one, half
    open_upper: float  # where the upper lid would be without a blink
    iris: tuple[float, float]

    def along(self, x: np.ndarray) -> np.ndarray:
        """-1 at the inner corner, 1 at the outer."""
        return (x - self.x) * (self.side / self.width)

    def line(self, s: np.ndarray) -> np.ndarray:
        return self.y + self.tilt * s

    def lids(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights of the upper and the lower lid at s in [-1, 1]."""
        line = self.line(s)
        arch = 1 - s * s
        # The upper lid is highest towards the nose, the lower one lowest towards the temple.
        return line + self.upper * arch * (1.06 - 0.14 * s), line - self.lower * arch * (0.96 + 0.16 * s)


@dataclass(frozen=True)
class Mouth:
    y: float
    width: float  # half
    corners: tuple[float, float]  # heights over y, image's left and right
    bulge: float  # rise of the middle
    upper_gap: float
    lower_gap: float
    upper_lip: float
    lower_lip: float

    def line(self, s: np.ndarray) -> np.ndarray:
        """Where closed lips meet, at s in [-1, 1] from the image's left to its right corner."""
        corner = np.where(s < 0, np.float32(self.corners[0]), np.float32(self.corners[1]))
        return self.y + corner * np.abs(s) * np.sqrt(np.abs(s)) + self.bulge * (1 - s * s)

    def inner(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edges of the opening: of the upper and of the lower lip."""
        line, arch = self.line(s), 1 - s * s
        return line + self.upper_gap * arch, line - self.lower_gap * arch

    def outer(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        upper, lower = self.inner(s)
        arch = 1 - s * s
        bow = 1 - 0.28 * bell(s / 0.2) + 0.12 * bell((np.abs(s) - 0.32) / 0.16)
        return upper + self.upper_lip * arch * bow, lower - self.lower_lip * np.sqrt(np.maximum(arch, 0)) * (
            0.45 + 0.55 * arch
        )

    @property
    def lowest(self) -> float:
        """y of the lower lip's edge in the middle."""
        return self.y + self.bulge - self.lower_gap - self.lower_lip


@dataclass(frozen=True)
class Nose:
    bridge: float  # y of its root
    tip: float  # y
    base: float  # y of the nostrils
    width: float  # half, at the nostrils
    height: float


@dataclass(frozen=True)
class Features:
    brows: tuple[Brow, Brow]  # image's left, right
    eyes: tuple[Eye, Eye]
    nose: Nose
    mouth: Mouth
    jaw_drop: float
    smile: tuple[float, float]  # unit 12 on the image's left and right


def features(identity: Identity, state: FaceState) -> Features:
    """Place every feature of a face in this state.

    Args:
        identity: the person.
        state: pose, expression and so on.
    """
    u = state.by_number()
    smile = (u[12] * min(1.0, 1 - state.asymmetry), u[12] * min(1.0, 1 + state.asymmetry))
    left, right = SIDES
    jaw_drop = 0.25 * u[26] + 0.02 * u[25] - 0.015 * u[17]
    return Features(
        brows=(_brow(identity, u, left), _brow(identity, u, right)),
        eyes=(_eye(identity, state, u, smile[0], left), _eye(identity, state, u, smile[1], right)),
        nose=_nose(identity, u),
        mouth=_mouth(identity, u, smile),
        jaw_drop=jaw_drop,
        smile=smile,
    )


def _brow(identity: Identity, u: dict[int, float], side: int) -> Brow:
    base = identity.eye_y + identity.brow_y
    inner = base - 0.01 + 0.17 * u[1] - 0.125 * u[4] - 0.03 * u[9] + 0.01 * u[5]
    middle = base + identity.brow_arch + 0.10 * u[1] + 0.14 * u[2] - 0.09 * u[4] - 0.02 * u[9]
    outer = base - 0.035 - 0.01 * u[1] + 0.20 * u[2] - 0.02 * u[4]
    x = (
        0.125 - 0.055 * u[4] - 0.01 * u[9],
        identity.eye_x + 0.03 - 0.02 * u[4],
        (identity.eye_x + 0.215) * identity.brow_length - 0.01 * u[4],
    )
    return Brow(
        (side * x[0], side * x[1], side * x[2]), (inner, middle, outer), identity.brow_thickness * (1 + 0.15 * u[4])
    )


def _eye(identity: Identity, state: FaceState, u: dict[int, float], smile: float, side: int) -> Eye:
    height = identity.eye_height
    upper = height * 0.078 + 0.075 * u[5] + 0.012 * u[2] - 0.014 * u[6] - 0.014 * u[4] - 0.018 * u[9]
    lower = height * 0.052 + 0.018 * u[5] - 0.052 * u[6] - 0.016 * smile - 0.026 * u[9] + 0.01 * u[26]
    lower = max(lower, -0.004)
    upper = max(upper, 0.022)
    # A closed lid rests just above the lower one.
    closed = (1 - state.blink) * upper + state.blink * (0.004 - lower)
    gaze_x, gaze_y = state.gaze
    return Eye(
        side=side,
        x=side * identity.eye_x,
        y=identity.eye_y,
        width=identity.eye_width,
        upper=closed,
        lower=lower,
        tilt=identity.eye_tilt - 0.012 * u[1],
        open_upper=upper,
        iris=(side * identity.eye_x + 0.062 * gaze_x, identity.eye_y + 0.014 + 0.038 * gaze_y),
    )


def _nose(identity: Identity, u: dict[int, float]) -> Nose:
    base = identity.eye_y - identity.nose_length
    return Nose(
        bridge=identity.eye_y + 0.05,
        tip=base + 0.055 + 0.045 * u[9],
        base=base + 0.08 * u[9] - 0.006 * u[12],
        width=0.125 * identity.nose_width * (1 + 0.24 * u[9] + 0.07 * u[12]),
        height=0.27 * identity.nose_height,
    )


def _mouth(identity: Identity, u: dict[int, float], smile: tuple[float, float]) -> Mouth:
    mean_smile = (smile[0] + smile[1]) / 2
    width = identity.mouth_width * (
        1 + 0.30 * mean_smile + 0.56 * u[20] - 0.16 * u[17] - 0.12 * u[26] * (1 - 0.6 * u[20])
    )
    gap = 0.125 * u[25] + u[26] * (0.10 + 0.085 * u[25])
    stretch = 1 - 0.22 * u[20] - 0.15 * mean_smile
    frown = -0.085 * u[17] - 0.02 * u[20] * (1 - mean_smile)
    lift = -0.02 * u[26] + 0.07 * u[17] + 0.02 * mean_smile
    return Mouth(
        y=identity.mouth_y + lift,
        width=width,
        corners=(0.15 * smile[0] + frown, 0.15 * smile[1] + frown),
        bulge=0.055 * u[17] - 0.012 * u[20],
        upper_gap=0.30 * gap + 0.06 * u[9] * (0.3 + u[25]),
        lower_gap=0.85 * gap,
        upper_lip=identity.upper_lip * stretch * (1 - 0.2 * u[17]) + 0.008 * u[9],
        lower_lip=identity.lower_lip * stretch * (1 + 0.35 * u[17]),
    )
