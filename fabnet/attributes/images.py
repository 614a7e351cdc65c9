"""Images of labelled sets: decoded, cut to a face's box, and their sizes.

Sizes are told from the first bytes of a file, so that hundreds of thousands take seconds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from fabnet.errors import UserError
from fabnet.frames.conversion import JPEG, PNG, ImageError, decode_image, orientation
from fabnet.progress import track

#: The sizes of what is no image.
ABSENT, UNREADABLE = (-1, -1), (0, 0)

#: Where a JPEG's size lies depends on what a camera or an editor wrote before it.
_BYTES = (4096, 2**18)


def read_image(data: bytes, where: Path | str, exif: bool) -> np.ndarray:
    """Decode JPEG, PNG, BMP or TIFF to uint8 RGB (H, W, 3).

    Args:
        data: the file's content.
        where: the file, for errors.
        exif: as viewers show it, see `conversion.decode_image`.

    Raises:
        UserError: the bytes are no such image, or damaged.
    """
    try:
        return decode_image(data, exif=exif)
    except ImageError as error:
        raise UserError(f"{where}: cannot be decoded: {error.detail}; replace or remove the file") from None


def crop_box(image: np.ndarray, row: Any, size: int) -> np.ndarray:
    """The box (left, top, right, bottom) of `row`, resized to (size, size, 3).

    Pixel (i, j) covers [j, j + 1) x [i, i + 1) of the image. Edges are rounded to whole pixels, so that readers which
    want an exact map from box to crop give whole numbers; what lies outside the image repeats its border.

    Args:
        image: uint8 RGB (H, W, 3).
        row: with left, top, right and bottom in pixels, and image, its name.
        size: side of the crop.
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
    # Averaging keeps fine patterns from aliasing when it shrinks, and shows blocks when it enlarges.
    shrinks = min(inside.shape[:2]) >= size
    return cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def sizes_of(paths: Iterable[Path], count: int, title: str, exif: bool) -> np.ndarray:
    """Width and height of images, and 1 where they are turned: int64 (count, 3). ABSENT or UNREADABLE for no image.

    Args:
        paths: of the images.
        count: of the paths.
        title: of the progress line.
        exif: of images as viewers show them; else of stored pixels, and none is turned.
    """
    sizes = np.zeros((count, 3), dtype=np.int64)
    for row, path in enumerate(track(paths, f"{title}: looking at images", count, "image")):
        sizes[row, :2], turn = size_of(path, exif)
        sizes[row, 2] = turn > 1
    return sizes


def size_of(path: Path, exif: bool) -> tuple[tuple[int, int], int]:
    """Width and height of an image, and its EXIF orientation, 1 to 8, which is 1 for those that stay as they are.

    Args:
        path: of the image.
        exif: of the image as viewers show it; else of its stored pixels.

    Returns:
        The size is ABSENT where there is no such file, UNREADABLE where it does not begin as an image does.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_BYTES[0])
            if head.startswith(JPEG):
                size, turn = _jpeg_size(head), orientation(head) if exif else 1
                if size is None or turn is None:
                    head += file.read(_BYTES[1]) or b""
                    size, turn = _jpeg_size(head), orientation(head) if exif else 1
            elif head.startswith(PNG) and head[12:16] == b"IHDR":
                size = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
                turn = orientation(head + (file.read() or b"")) if exif else 1
            elif not head:
                return UNREADABLE, 1
            else:  # rare formats, which have no header of ours
                image = read_image(head + file.readall(), path, exif)
                return (image.shape[1], image.shape[0]), 1
    except FileNotFoundError:
        return ABSENT, 1
    except (OSError, UserError):
        return UNREADABLE, 1
    if size is None:
        return UNREADABLE, 1
    turn = turn or 1
    return (size[::-1] if turn > 4 else size), turn


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(head)
    except ValueError:
        return None
    return width, height
