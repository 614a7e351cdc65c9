"""Who a face is: all that stays the same over the frames of a person, drawn so that features go together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fabnet.synthetic.portable import normal

Color = tuple[float, float, float]

HAIR_STYLES = ("bald", "cropped", "short", "full", "bob", "long")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
BACKGROUNDS = ("gradient", "blobs", "bokeh", "panels", "window", "foliage")
T = TypeVar("T")

#: From fair to deep, sRGB.
_SKIN = np.array(
    [
        (0.95, 0.80, 0.70),
        (0.91, 0.73, 0.60),
        (0.83, 0.64, 0.49),
        (0.72, 0.52, 0.38),
        (0.56, 0.39, 0.28),
        (0.40, 0.27, 0.20),
    ]
)

#: Colour, chance among the fairest, chance among the deepest.
_HAIR: tuple[tuple[Color, float, float], ...] = (
    ((0.06, 0.05, 0.05), 2.0, 4.0),
    ((0.14, 0.09, 0.06), 3.0, 3.0),
    ((0.25, 0.15, 0.09), 3.0, 1.5),
    ((0.40, 0.25, 0.13), 2.5, 0.3),
    ((0.62, 0.44, 0.22), 2.0, 0.0),
    ((0.80, 0.66, 0.40), 2.0, 0.0),
    ((0.50, 0.20, 0.09), 1.2, 0.0),
    ((0.55, 0.54, 0.53), 1.0, 1.0),
    ((0.80, 0.79, 0.78), 0.6, 0.6),
)
_IRIS: tuple[tuple[Color, float, float], ...] = (
    ((0.26, 0.15, 0.07), 3.0, 5.0),
    ((0.40, 0.25, 0.12), 3.0, 3.0),
    ((0.25, 0.45, 0.65), 3.0, 0.0),
    ((0.32, 0.48, 0.30), 2.0, 0.0),
    ((0.45, 0.52, 0.55), 1.5, 0.0),
)
_FRAMES: tuple[Color, ...] = ((0.08, 0.08, 0.09), (0.30, 0.18, 0.10), (0.45, 0.42, 0.40))
_FAIR_BROWS: Color = (0.45, 0.35, 0.24)


@dataclass(frozen=True)
class Identity:
    """Lengths are in head units (chin to crown is about 2), angles in radians, colours sRGB in 0..1."""

    seed: int
    # Head
    width: float
    jaw_width: float
    length: float
    depth: float
    cheek: float
    chin: float
    # Features
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    iris: Color
    iris_radius: float
    brow_y: float
    brow_arch: float
    brow_thickness: float
    brow_length: float
    brow_color: Color
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip_color: Color
    # Surface
    skin: Color
    blush: float
    freckles: float
    hair_style: str
    hair_color: Color
    hair_volume: float
    hairline: float
    hair_side: float
    hair_part: float
    fringe: float
    beard: str
    beard_strength: float
    glasses: str
    glasses_color: Color
    # Surroundings
    clothes: Color
    collar: str
    background: str
    background_colors: tuple[Color, Color, Color]


class _Dice:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def one_of(self, values: Sequence[T], weights: Sequence[float] | None = None) -> T:
        chances = None if weights is None else np.asarray(weights) / np.sum(weights)
        return values[int(self.rng.choice(len(values), p=chances))]

    def shade(self, color: Sequence[float] | np.ndarray, amount: float) -> Color:
        """A colour near this one: `amount` is the standard deviation of its lightness."""
        return _color(np.asarray(color) + 0.4 * amount * normal(self.rng, 3) + amount * normal(self.rng))

    def of_tone(self, choices: tuple[tuple[Color, float, float], ...], tone: float, amount: float) -> Color:
        """A colour from a table whose chances go from the fairest skin's (`tone` 0) to the deepest skin's (1)."""
        fairness = (1 - tone) * (1 - tone)
        weights = [fairness * fair + (1 - fairness) * deep for _, fair, deep in choices]
        return self.shade(self.one_of([color for color, _, _ in choices], weights), amount)

    def scenery(self, saturation: float) -> Color:
        return _color(self.between(0.12, 0.85) + saturation * (self.rng.uniform(0, 1, 3) - 0.5))


def _color(values: np.ndarray) -> Color:
    red, green, blue = np.clip(values, 0.02, 0.98)
    return float(red), float(green), float(blue)


def sample_identity(
    rng: np.random.Generator, backgrounds: Sequence[str] = BACKGROUNDS, saturation: float = 0.55
) -> Identity:
    """Draw a person.

    Args:
        rng: that draws everything.
        backgrounds: the kinds to choose from.
        saturation: of the background's colours, 0 to 1.
    """
    dice = _Dice(rng)
    tone = dice.between(0, 1)
    place = tone * (len(_SKIN) - 1)
    skin = dice.shade([np.interp(place, range(len(_SKIN)), channel) for channel in _SKIN.T], 0.015)
    hair = dice.of_tone(_HAIR, tone, 0.02)
    masculine = rng.random() < 0.5
    style = dice.one_of(HAIR_STYLES, (0.8, 2.2, 3, 2, 0.3, 0.4) if masculine else (0.05, 0.3, 0.8, 1.5, 2.5, 3))
    lips = (0.86, 0.58, 0.60) if masculine else (0.88, 0.48, 0.52)
    # Arguments are drawn in this order: a feature drawn between two others would change every face after it.
    return Identity(
        seed=int(rng.integers(1 << 31)),
        width=dice.between(0.93, 1.07),
        jaw_width=dice.between(0.92, 1.12) if masculine else dice.between(0.84, 1.02),
        length=dice.between(0.96, 1.05),
        depth=dice.between(0.94, 1.06),
        cheek=dice.between(0.3, 1.2),
        chin=dice.between(0.4, 1.3),
        eye_x=dice.between(0.275, 0.325),
        eye_y=dice.between(0.01, 0.08),
        eye_width=dice.between(0.145, 0.175),
        eye_height=dice.between(0.85, 1.2),
        eye_tilt=dice.between(-0.02, 0.035),
        iris=dice.of_tone(_IRIS, tone, 0.03),
        iris_radius=dice.between(0.068, 0.078),
        brow_y=dice.between(0.215, 0.255),
        brow_arch=dice.between(0.01, 0.06),
        brow_thickness=dice.between(0.034, 0.056) if masculine else dice.between(0.022, 0.038),
        brow_length=dice.between(0.9, 1.08),
        brow_color=dice.shade(0.75 * np.asarray(hair) if max(hair) < 0.7 else _FAIR_BROWS, 0.02),
        nose_length=dice.between(0.40, 0.47),
        nose_width=dice.between(0.85, 1.25),
        nose_height=dice.between(0.85, 1.2),
        mouth_y=dice.between(-0.66, -0.61),
        mouth_width=dice.between(0.225, 0.275),
        upper_lip=dice.between(0.030, 0.055),
        lower_lip=dice.between(0.042, 0.070),
        lip_color=dice.shade(np.asarray(skin) * lips, 0.02),
        skin=skin,
        blush=dice.between(0.1, 0.6),
        freckles=max(0.0, dice.between(-1.0, 0.6)) * (1 - tone),
        hair_style=style,
        hair_color=hair,
        hair_volume=dice.between(0.8, 1.25),
        hairline=dice.between(0.54, 0.72),
        hair_side=dice.between(-0.05, 0.12),
        hair_part=dice.between(-0.35, 0.35),
        fringe=dice.between(-0.1, 1.0) if style in ("full", "bob", "long") else dice.between(-0.2, 0.3),
        beard=dice.one_of(BEARDS, (2.2, 1.4, 0.6, 0.8, 1.4)) if masculine else "none",
        beard_strength=dice.between(0.6, 1.0),
        glasses=dice.one_of(("none", "round", "square"), (0.76, 0.12, 0.12)),
        glasses_color=dice.shade(dice.one_of(_FRAMES), 0.03),
        clothes=_color(rng.uniform(0.08, 0.85, 3)),
        collar=dice.one_of(("round", "v")),
        background=dice.one_of(backgrounds),
        background_colors=(dice.scenery(saturation), dice.scenery(saturation), dice.scenery(saturation)),
    )
