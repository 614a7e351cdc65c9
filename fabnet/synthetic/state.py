"""What changes from frame to frame: pose, action units, gaze, camera and light; expressions as action units."""

from dataclasses import dataclass, field

import numpy as np

from fabnet.tables import UNITS

#: Intensities of no action unit at all, in the order of `tables.UNITS`.
AT_REST = (0.0,) * len(UNITS)

#: Units of each expression: (chance that the unit takes part, least intensity at full expression, greatest).
EXPRESSION_UNITS: dict[str, dict[int, tuple[float, float, float]]] = {
    "neutral": {},
    "happy": {6: (0.9, 0.5, 1.0), 12: (1.0, 0.6, 1.0), 25: (0.6, 0.4, 1.0)},
    "sad": {1: (0.9, 0.5, 1.0), 4: (0.6, 0.3, 0.8), 17: (0.8, 0.4, 1.0)},
    "surprise": {1: (0.8, 0.5, 1.0), 2: (1.0, 0.6, 1.0), 5: (0.9, 0.4, 1.0), 25: (0.8, 0.5, 1.0), 26: (0.9, 0.5, 1.0)},
    "fear": {
        1: (0.8, 0.5, 1.0), 2: (0.6, 0.3, 0.7), 4: (0.7, 0.4, 0.8), 5: (0.9, 0.5, 1.0), 20: (0.9, 0.5, 1.0),
        25: (0.7, 0.4, 0.9),
    },
    "disgust": {9: (1.0, 0.6, 1.0), 4: (0.2, 0.3, 0.7), 17: (0.4, 0.3, 0.8), 25: (0.3, 0.3, 0.7)},
    "anger": {4: (1.0, 0.6, 1.0), 5: (0.7, 0.3, 0.8), 9: (0.2, 0.2, 0.5), 17: (0.5, 0.3, 0.7)},
    "contempt": {12: (1.0, 0.5, 1.0)},
}  # fmt: skip


@dataclass(frozen=True)
class Light:
    """A soft key light and an ambient one; degrees, azimuth > 0 from the image's right, elevation > 0 from above."""

    azimuth: float = -25.0
    elevation: float = 35.0
    key: float = 0.75
    ambient: float = 0.45
    warmth: float = 0.0  # -1 (blue) to 1 (orange)


@dataclass(frozen=True)
class FaceState:
    """One instant of a face.

    Pose in degrees: yaw > 0 turns the nose to larger x of the image, pitch > 0 lifts it to smaller y, roll > 0 tilts
    the head clockwise as seen in the image. The three are applied in the order pitch, yaw, roll.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    units: tuple[float, ...] = AT_REST  # 0 (absent) to 1 (maximal), in the order of `tables.UNITS`
    asymmetry: float = 0.0  # of unit 12: -1 only the image's left mouth corner is pulled, +1 only the right one
    blink: float = 0.0  # 0 open, 1 closed
    gaze: tuple[float, float] = (0.0, 0.0)  # -1 to 1; x > 0 to the image's right, y > 0 up
    shift: tuple[float, float] = (0.0, 0.0)  # of the head in the image, in fractions of its side; y > 0 down
    scale: float = 1.0
    light: Light = field(default_factory=Light)

    def __post_init__(self) -> None:
        if len(self.units) != len(UNITS):
            raise ValueError(f"there are {len(UNITS)} action units, not {len(self.units)}")

    def by_number(self) -> dict[int, float]:
        """Intensities of the action units by their FACS numbers."""
        return dict(zip(UNITS, self.units, strict=True))


@dataclass(frozen=True)
class Expression:
    name: str
    units: np.ndarray  # (11,) intensities in the order of `tables.UNITS`
    asymmetry: float  # of unit 12


def sample_expression(rng: np.random.Generator, name: str, strength: float = 1.0) -> Expression:
    """Draw the units of an expression; `strength` in 0..1 scales their intensities.

    Args:
        rng: that draws them.
        name: as in tables.EXPRESSIONS.
        strength: 1 leaves them as drawn.
    """
    units = np.zeros(len(UNITS))
    for number, (chance, low, high) in EXPRESSION_UNITS[name].items():
        takes_part, intensity = rng.random() < chance, rng.uniform(low, high)
        units[UNITS.index(number)] = strength * intensity * takes_part
    lopsided = rng.uniform(0.75, 1.0) if name == "contempt" else 0.25 * rng.random()
    return Expression(name, units, float(rng.choice((-1, 1)) * lopsided))
