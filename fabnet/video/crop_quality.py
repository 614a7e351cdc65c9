"""What a crop is like, as the index keeps it: of its pixels, of its box, and what FaceMesh reads of the face."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fabnet.config import CROPPED_SOURCES, ExtractParams
from fabnet.video.crop import Box, quality
from fabnet.video.faces import Face
from fabnet.video.mesh import MIN_PRESENCE, read_face

# Of a crop that was made by others, whose box is the whole picture: the face in it is taken to be so much smaller, so
# that the network looks at the picture as it is.
_FACE_OF_CROP = 1 / 1.5


@dataclass(frozen=True)
class Quality:
    """Columns of the index, `fabnet.tables.Index` says what they are. NaN is null: not known, or not measured."""

    sharpness: float
    brightness: float
    face_px: float = math.nan
    cut_off: float = math.nan
    presence: float = math.nan
    roll_deg: float = math.nan
    pitch_deg: float = math.nan
    yaw_deg: float = math.nan
    mouth_open: float = math.nan
    eyes_open: float = math.nan

    @classmethod
    def of_row(cls, values: Sequence[float]) -> Self:
        """From values in the order of QUALITIES."""
        return cls(*(float(value) for value in values))

    def row(self) -> tuple[float, ...]:
        """The values in the order of QUALITIES."""
        return astuple(self)


#: Names of the columns.
QUALITIES = tuple(field.name for field in fields(Quality))


def of_pixels(crop: NDArray[np.uint8]) -> Quality:
    """Sharpness and brightness of a crop, uint8 RGB (S, S, 3); nothing else."""
    return Quality(*quality(crop))


def of_face(face: Face, crop: NDArray[np.uint8], params: ExtractParams, roll_deg: float = 0.0) -> Quality:
    """All that params ask for.

    Args:
        face: in its frame.
        crop: uint8 RGB (S, S, 3), made of it.
        params: source and margin say what its box is, mesh whether the network looks at it.
        roll_deg: of the face where it is known, positive clockwise in the image.

    Raises:
        UserError: the network's file is missing, cut short or another one.
    """
    sharpness, brightness = quality(crop)
    height, width = face.image.shape[:2]
    given = params.source in CROPPED_SOURCES
    box = face_in(face.box, params)
    nothing = math.nan, math.nan
    face_px, cut_off = nothing if given else (box.right - box.left, _beyond(box, width, height))
    readings: tuple[float, ...] = (math.nan,) * 5
    presence = math.nan
    if params.reads_mesh and box.touches(width, height):
        seen = read_face(face.image, box, roll_deg)
        presence = seen.presence
        if presence >= MIN_PRESENCE:
            readings = seen.roll_deg, seen.pitch_deg, seen.yaw_deg, seen.mouth_open, seen.eyes_open
    return Quality(sharpness, brightness, face_px, cut_off, presence, *readings)


def face_in(box: Box, params: ExtractParams) -> Box:
    """The box of a face as FaceMesh wants it, from that of its crop.

    Args:
        box: of the crop, pixels of the frame.
        params: source and margin, by which the crop's box was made.
    """
    return _grown(box, _FACE_OF_CROP if params.source in CROPPED_SOURCES else 1 / (1 + 2 * params.margin))


def _grown(box: Box, factor: float) -> Box:
    """A box of so many times the side about the same middle."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    wide, high = (box.right - box.left) * factor / 2, (box.bottom - box.top) * factor / 2
    return Box(x - wide, y - high, x + wide, y + high)


def _beyond(box: Box, width: int, height: int) -> float:
    """Share of the area of a box that lies outside a frame."""
    inside_x = max(0.0, min(box.right, width) - max(box.left, 0))
    inside_y = max(0.0, min(box.bottom, height) - max(box.top, 0))
    return 1 - inside_x * inside_y / ((box.right - box.left) * (box.bottom - box.top))
