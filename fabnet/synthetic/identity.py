"""Who a face is: everything that stays the same over all frames of a person."""

from dataclasses import dataclass

Color = tuple[float, float, float]

HAIR_STYLES = ("bald", "cropped", "short", "full", "bob", "long")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
BACKGROUNDS = ("gradient", "blobs", "bokeh", "panels", "window", "foliage")


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
