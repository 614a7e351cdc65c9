"""A box of an image as a square crop."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from fabnet.errors import UserError

JPEG = b"\xff\xd8\xff"


def decode_jpeg(data: bytes, where: Path | str) -> np.ndarray:
    """Decode to uint8 RGB (H, W, 3).

    Raises:
        UserError: the bytes are no JPEG; names `where` they came from.
    """
    try:
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        raise UserError(f"{where}: cannot be decoded as JPEG: {error}; replace or remove the file") from None


def decode_image(data: bytes, where: Path | str) -> np.ndarray:
    """Decode JPEG, PNG, BMP or TIFF to uint8 RGB (H, W, 3).

    Pixels lie as they are stored: an orientation that a camera noted is not applied, because those who annotated the
    sets used tools that do not apply it either.

    Raises:
        UserError: the bytes are no such image, or damaged; names `where` they came from.
    """
    if data.startswith(JPEG):
        return decode_jpeg(data, where)
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise UserError(f"{where}: cannot be decoded: {error.err}; replace or remove the file") from None
    if image is None:
        raise UserError(
            f"{where}: {'no image that can be decoded' if data else 'is empty'}; replace or remove the file"
        )
    return np.asarray(image, dtype=np.uint8)


def crop_box(image: np.ndarray, row: Any, size: int) -> np.ndarray:
    """The box (left, top, right, bottom) of `row`, resized to (size, size, 3).

    Pixel (i, j) covers [j, j + 1) x [i, i + 1) of the image. Edges are rounded to whole pixels, so that readers which
    want an exact map from box to crop give whole numbers; what lies outside the image repeats its border.
    """
    left, top, right, bottom = (round(edge) for edge in (row.left, row.top, row.right, row.bottom))
    height, width = image.shape[:2]
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise UserError(
            f"{row.image}: the box {left}, {top}, {right}, {bottom} lies outside its {width} x {height} image"
        )
    if left >= right or top >= bottom:
        raise UserError(f"{row.image}: the box {left}, {top}, {right}, {bottom} holds no pixel")
    inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    outside = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if any(outside):
        inside = cv2.copyMakeBorder(inside, *outside, borderType=cv2.BORDER_REPLICATE)
    if inside.shape[:2] == (size, size):
        return np.ascontiguousarray(inside)
    shrinks = min(inside.shape[:2]) >= size
    return cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
