"""Square windows of an image as networks see them: shrunk to a canvas, black beyond the image, and turned upright."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.video.crop import Box


class Window(NamedTuple):
    """A square of an image, which may leave it, in pixels."""

    left: float
    top: float
    side: float

    def holds(self, box: Box) -> bool:
        """Whether all of a box lies in the window."""
        inside = self.left <= box.left and self.top <= box.top
        return inside and box.right <= self.left + self.side and box.bottom <= self.top + self.side

    def touches(self, width: int, height: int) -> bool:
        """Whether any of it lies in an image.

        Args:
            width: of the image, pixels.
            height: likewise.
        """
        return Box(self.left, self.top, self.left + self.side, self.top + self.side).touches(width, height)


class Placement(NamedTuple):
    """Where a letterboxed part of an image lies on its canvas.

    Attributes:
        pixels: side of the canvas.
        offset: of the part's first pixel, in pixels of the canvas, x and y.
        scale: pixels of the canvas for one of the image, along x and y.
        corner: of the part in the image.
    """

    pixels: int
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    corner: NDArray[np.float64]

    def of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 2) in shares of the canvas, in pixels of the image."""
        return (points * self.pixels - self.offset) / self.scale + self.corner


def letterbox(image: NDArray[np.uint8], window: Window, pixels: int) -> tuple[NDArray[np.uint8], Placement]:
    """A canvas (pixels, pixels, 3) with a window of an image, black beyond the image, and where that lies on it.

    Args:
        image: uint8 RGB (H, W, 3).
        window: which touches the image.
        pixels: side of the canvas.
    """
    height, width = image.shape[:2]
    factor = pixels / window.side
    left, top = max(0, math.floor(window.left)), max(0, math.floor(window.top))
    right = min(width, math.ceil(window.left + window.side))
    bottom = min(height, math.ceil(window.top + window.side))
    size = [min(pixels, max(1, round(side * factor))) for side in (right - left, bottom - top)]
    part = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    corner = round((left - window.left) * factor), round((top - window.top) * factor)
    x, y = (min(max(0, place), pixels - side) for place, side in zip(corner, size, strict=True))
    canvas = np.zeros((pixels, pixels, 3), np.uint8)
    canvas[y : y + size[1], x : x + size[0]] = part
    scale = np.array(size) / (right - left, bottom - top)
    return canvas, Placement(pixels, np.array([x, y], float), scale, np.array([left, top], float))


class Turned(NamedTuple):
    """Where a window that was turned upright lies in its image.

    Attributes:
        place: of the larger, level window that it was cut out of.
        share: side of the window over that of the larger one.
        turn: (2, 2), by which x and y of the window turn into the image's directions.
    """

    place: Placement
    share: float
    turn: NDArray[np.float64]

    @property
    def scale(self) -> NDArray[np.float64]:
        """Pixels of the canvas for one of the image, along x and y of the image."""
        return self.place.scale

    def of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 2) in shares of the canvas, in pixels of the image."""
        return self.place.of(((points - 0.5) @ self.turn.T) * self.share + 0.5)


def upright(image: NDArray[np.uint8], window: Window, roll_deg: float, pixels: int) -> tuple[NDArray[np.uint8], Turned]:
    """A canvas (pixels, pixels, 3) with a window turned about its middle, so that what has this roll lies upright.

    Args:
        image: uint8 RGB (H, W, 3).
        window: which touches the image.
        roll_deg: of what it shows, positive clockwise in the image.
        pixels: side of the canvas.
    """
    # The square around it at any angle, of which the middle is kept.
    wide = math.ceil(pixels * math.sqrt(2))
    side = window.side * wide / pixels
    margin = (side - window.side) / 2
    canvas, place = letterbox(image, Window(window.left - margin, window.top - margin, side), wide)
    matrix = cv2.getRotationMatrix2D((wide / 2 - 0.5, wide / 2 - 0.5), roll_deg, 1)
    matrix[:, 2] -= (wide - pixels) / 2
    shown = np.asarray(cv2.warpAffine(canvas, matrix, (pixels, pixels)), np.uint8)
    cos, sin = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    return shown, Turned(place, pixels / wide, np.array([[cos, -sin], [sin, cos]]))
