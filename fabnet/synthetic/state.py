"""What changes from frame to frame: pose, action units, gaze, camera and light."""

from dataclasses import dataclass, field

from fabnet.tables import UNIT_COLUMNS, UNITS

#: Intensities of no action unit at all, in the order of `tables.UNITS`.
AT_REST = (0.0,) * len(UNITS)


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


def units_of(**intensities: float) -> tuple[float, ...]:
    """Intensities in the order of `tables.UNITS` from keywords such as `au12=0.8`; the rest is 0."""
    unknown = sorted(set(intensities) - set(UNIT_COLUMNS))
    if unknown:
        raise ValueError(f"no such action unit: {', '.join(unknown)}")
    return tuple(float(intensities.get(column, 0.0)) for column in UNIT_COLUMNS)
