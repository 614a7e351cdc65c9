"""One picture of a file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabnet.video.decode import frames
from fabnet.video.images import decode_image, is_image
from fabnet.video.reject import Rejected

# Times of frames are rounded where they are written; no two frames are closer than this.
_PER_SECOND = 1000


def still(path: Path, time_s: float = 0.0) -> NDArray[np.uint8]:
    """An image, or the frame of a video that is on display so long after its first one: RGB (H, W, 3), upright.

    Raises:
        Rejected: it cannot be read, or shows nothing then.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if is_image(head):
                return decode_image(head + file.read())
    except OSError as error:
        raise Rejected("unreadable", f"cannot be opened: {error.strerror}") from None
    at = np.ceil(time_s * _PER_SECOND - 1e-6) / _PER_SECOND
    for frame in frames(path, _PER_SECOND, span=(at, at)):
        return frame.image
    raise Rejected("no_frames", f"shows nothing at {time_s:.3f} s")
