"""A square of a frame becomes a crop: geometry, resizing, JPEG and two measures of quality."""

import math
from dataclasses import astuple, dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

_AUTHORS_SIDE, _AUTHORS_KEPT = 256, 170
_AUTHORS_LEFT = (_AUTHORS_SIDE + 20 + 20 - _AUTHORS_KEPT) // 2 - 20
_AUTHORS_TOP = (_AUTHORS_SIDE + 80 + 30 - _AUTHORS_KEPT) // 2 - 80


@dataclass(frozen=True)
class Box:
    """Edges in pixels of the frame: continuous coordinates, the centre of the first pixel is (0.5, 0.5)."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, width: int, height: int) -> bool:
        """Whether any of it lies in a frame.

        Args:
            width: of the frame, pixels.
            height: likewise.
        """
        return self.left < width and self.top < height and self.right > 0 and self.bottom > 0


def centred_square(width: int, height: int) -> Box:
    """The largest square in the middle of a frame.

    Args:
        width: of the frame, pixels.
        height: likewise.
    """
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left, top, left + side, top + side)


def square(box: Box, margin: float) -> Box:
    """The square around the centre of `box` whose side is the longer one of the box plus `margin` of it on each side.

    Edges are whole pixels, so that the box tells exactly which pixels a crop was made of; it may leave the frame.

    Args:
        box: of a face, in pixels.
        margin: share of the box's longer side.
    """
    side = max(1, round(max(box.right - box.left, box.bottom - box.top) * (1 + 2 * margin)))
    left = round((box.left + box.right - side) / 2)
    top = round((box.top + box.bottom - side) / 2)
    return Box(left, top, left + side, top + side)


def crop(image: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """Cut a square with whole-pixel edges out of `image` (H, W, 3) and resize it to (size, size, 3).

    Beyond the border the nearest pixel is repeated; the box has to touch the image. Shrinking averages areas, growing
    interpolates linearly.

    Args:
        image: uint8 RGB.
        box: in pixels of the image.
        size: side of the crop.
    """
    left, top, right, bottom = (int(edge) for edge in astuple(box))
    height, width = image.shape[:2]
    inside = image[max(top, 0) : bottom, max(left, 0) : right]
    pads = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if any(pads):
        inside = cv2.copyMakeBorder(inside, *pads, borderType=cv2.BORDER_REPLICATE)
    shrinks = right - left > size
    return cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def turned_crop(image: NDArray[np.uint8], box: Box, size: int, roll_deg: float) -> NDArray[np.uint8]:
    """As `crop`, of a square that is turned about the middle of `box`, so that what has this roll lies upright.

    Args:
        image: uint8 RGB (H, W, 3).
        box: square with whole-pixel edges.
        size: side of the crop.
        roll_deg: of the head, positive clockwise in the image.
    """
    side = int(box.right - box.left)
    # The square that holds the turned one, at the scale of the crop, then turned and cut.
    margin = math.ceil(side * (math.sqrt(2) - 1) / 2) + 1
    around = Box(box.left - margin, box.top - margin, box.right + margin, box.bottom + margin)
    wide = round((side + 2 * margin) * size / side)
    scale = (size / side) / (wide / (side + 2 * margin))
    middle = (wide - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), roll_deg, scale)
    turn[:, 2] += (size - 1) / 2 - middle
    whole = crop(image, around, wide)
    return np.asarray(cv2.warpAffine(whole, turn, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def recrop(image: NDArray[np.uint8], box: Box, size: int) -> tuple[NDArray[np.uint8], Box]:
    """A crop as FAb-Net's authors trained on, and the part of `box` that it shows.

    They resize a crop of the face to 256 x 256, pad it (torchvision's order: left 20, top 80, right 20, bottom 30),
    cut 170 x 170 out of its centre and resize that. The padding only moves the centre: none of it is left.

    Args:
        image: uint8 RGB (H, W, 3).
        box: of the face, with whole-pixel edges.
        size: side of the crop.
    """
    cut = crop(image, box, _AUTHORS_SIDE)[_AUTHORS_TOP:, _AUTHORS_LEFT:][:_AUTHORS_KEPT, :_AUTHORS_KEPT]
    pixel = (box.right - box.left) / _AUTHORS_SIDE
    left, top = box.left + _AUTHORS_LEFT * pixel, box.top + _AUTHORS_TOP * pixel
    kept = Box(left, top, left + _AUTHORS_KEPT * pixel, top + _AUTHORS_KEPT * pixel)
    return crop(cut, Box(0, 0, _AUTHORS_KEPT, _AUTHORS_KEPT), size), kept


def quality(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Sharpness (variance of the Laplacian) and brightness (mean, 0 to 255) of the grey image of a crop."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var()), float(grey.mean())


def encode(image: NDArray[np.uint8], jpeg_quality: int) -> bytes:
    """JPEG with full chroma: a video halves it, but a crop is mostly shrunk, and then holds as much colour as light.

    Args:
        image: uint8 RGB (H, W, 3).
        jpeg_quality: 1 to 100.
    """
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=jpeg_quality, colorspace="RGB", colorsubsampling="444", fastdct=False
    )
