"""Numbered images as the frames of a clip."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet.video.faces import Frame
from fabnet.video.limits import MAX_PIXELS, Deadline, check_size
from fabnet.video.reject import Rejected

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"

# 16 bits in 4 channels, not compressed.
_MAX_BYTES = 8 * MAX_PIXELS


def image_frames(images: Sequence[tuple[int, float, Path]], limit_s: float = 600.0) -> Iterator[Frame]:
    """JPEG and PNG files, each of them one sample to be looked at.

    Args:
        images: (number of the sample, time in s, file), by increasing number.
        limit_s: time for all of them, including what is done with the frames meanwhile.

    Raises:
        Rejected: unreadable, too_large or too_slow; the first two name the file.
    """
    deadline = Deadline(limit_s)
    for number, time_s, path in images:
        deadline.check()
        try:
            image = _read(path)
        except Rejected as rejected:
            raise Rejected(rejected.reason, f"{path.name}: {rejected.detail}") from None
        yield Frame(time_s, (number,), True, image)


def _read(path: Path) -> NDArray[np.uint8]:
    """An image, uint8 (H, W, 3) RGB, upright."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Rejected("unreadable", "not a file")
        if status.st_size > _MAX_BYTES:
            raise Rejected("too_large", f"a file of {status.st_size:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise Rejected("unreadable", f"cannot be opened: {error.strerror}") from None
    return decode_image(data)


def is_image(head: bytes) -> bool:
    """Whether a file that begins so is one that `decode_image` reads."""
    return head.startswith((_JPEG, _PNG))


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """A JPEG or PNG, uint8 (H, W, 3) RGB, upright. Its size is checked before it is decoded.

    Raises:
        Rejected: unreadable or too_large.
    """
    if data.startswith(_JPEG):
        return _jpeg(data)
    if data.startswith(_PNG):
        return _png(data)
    raise Rejected("unreadable", "neither JPEG nor PNG" if data else "the file is empty")


def _jpeg(data: bytes) -> NDArray[np.uint8]:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height)
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        raise Rejected("unreadable", f"damaged JPEG: {error}") from None
    if _EXIF in data[: 2**16]:
        # Only OpenCV turns an image as a camera held it, and only simplejpeg tells whether it is whole.
        return _opencv(data)
    return image


def _png(data: bytes) -> NDArray[np.uint8]:
    # The header comes first: length, name, width, height.
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise Rejected("unreadable", "damaged PNG: no header")
    check_size(int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))
    return _opencv(data)


def _opencv(data: bytes) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise Rejected("unreadable", f"cannot be decoded: {error.err}") from None
    if image is None:
        raise Rejected("unreadable", "damaged image")
    return image
