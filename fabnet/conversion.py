"""How pictures become RGB, those of videos and image files, and RGB becomes pictures of videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from av.video.reformatter import Interpolation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: For every `reformat` and `to_ndarray` of frames. Without the last two, libswscale converts by routines of the
#: processor's instruction set, each of which rounds in its own way (docs/decisions/0014-same-bytes-everywhere.md).
SAME_EVERYWHERE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"


class ImageError(Exception):
    """Bytes that give no image.

    Attributes:
        reason: "unreadable" or "too_large".
        detail: one short line for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def decode_image(data: bytes, *, exif: bool, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """The pixels of an image file, uint8 (H, W, 3) RGB.

    Args:
        data: the file's content.
        exif: turn the image upright, by the orientation that a camera noted. Without it pixels lie as they are stored,
            which is what the annotations of labelled sets are about: the tools that made them do not turn images.
        max_pixels: for files from strangers: only JPEG and PNG of no more pixels, which is checked before decoding.
            Without it any format that OpenCV reads, such as BMP and TIFF, of any size.

    Raises:
        ImageError: the bytes are no such image, damaged, or too large.
    """
    if data.startswith(JPEG):
        return _jpeg(data, exif, max_pixels)
    if max_pixels is not None:
        _check_png(data, max_pixels)
    if not data:
        raise ImageError("unreadable", "the file is empty")
    return _opencv(data, exif)


def _jpeg(data: bytes, exif: bool, max_pixels: int | None) -> NDArray[np.uint8]:
    import simplejpeg

    try:
        if max_pixels is not None:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            _check_size(width, height, max_pixels)
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        raise ImageError("unreadable", f"damaged JPEG: {error}") from None
    if exif and _EXIF in data[: 2**16]:
        # Only OpenCV turns an image as a camera held it, and only simplejpeg tells whether it is whole.
        return _opencv(data, exif)
    return image


def _check_png(data: bytes, max_pixels: int) -> None:
    if not data.startswith(PNG):
        raise ImageError("unreadable", "neither JPEG nor PNG" if data else "the file is empty")
    # The header comes first: length, name, width, height.
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise ImageError("unreadable", "damaged PNG: no header")
    _check_size(int.from_bytes(data[16:20]), int.from_bytes(data[20:24]), max_pixels)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError("too_large", f"frames of {width} x {height}, more than {max_pixels:,} pixels")


def _opencv(data: bytes, exif: bool) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    flags = cv2.IMREAD_COLOR_RGB if exif else cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("unreadable", f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ImageError("unreadable", "damaged image")
    return np.asarray(image, dtype=np.uint8)
