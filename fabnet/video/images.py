"""Images: decoding one, numbered images as the frames of a clip, and the one picture of a file."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabnet.frames.conversion import JPEG, PNG, ImageError, decode_image
from fabnet.video.decode import frames
from fabnet.video.faces import Frame
from fabnet.video.reject import MAX_PIXELS, Deadline, Rejected

# 16 bits in 4 channels, not compressed.
_MAX_BYTES = 8 * MAX_PIXELS

# Times of frames are rounded where they are written; no two frames are closer than this.
_PER_SECOND = 1000


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
    return decode_upright(data)


def is_image(head: bytes) -> bool:
    """Whether a file that begins so is one that `decode_upright` reads."""
    return head.startswith((JPEG, PNG))


def decode_upright(data: bytes) -> NDArray[np.uint8]:
    """A JPEG or PNG from strangers, uint8 (H, W, 3) RGB, turned as the camera held it.

    Raises:
        Rejected: unreadable or too_large.
    """
    try:
        return decode_image(data, exif=True, max_pixels=MAX_PIXELS)
    except ImageError as error:
        raise Rejected(error.reason, error.detail) from None


def still(path: Path, time_s: float = 0.0) -> NDArray[np.uint8]:
    """An image, or the frame of a video that is on display so long after its first one: RGB (H, W, 3), upright.

    Args:
        path: of an image or a video.
        time_s: seconds after the video's first frame.

    Raises:
        Rejected: it cannot be read, or shows nothing then.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if is_image(head):
                return decode_upright(head + file.read())
    except OSError as error:
        raise Rejected("unreadable", f"cannot be opened: {error.strerror}") from None
    at = np.ceil(time_s * _PER_SECOND - 1e-6) / _PER_SECOND
    for frame in frames(path, _PER_SECOND, span=(at, at), max_damaged=1.0):
        return frame.image
    raise Rejected("no_frames", f"shows nothing at {time_s:.3f} s")
