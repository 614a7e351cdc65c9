"""How large the images of a folder are, told from their first bytes, so that hundreds of thousands take seconds."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import simplejpeg

from fabnet.attributes.crops import JPEG, decode_image
from fabnet.errors import UserError
from fabnet.progress import track

#: The sizes of what is no image.
ABSENT, UNREADABLE = (-1, -1), (0, 0)

_PNG = b"\x89PNG\r\n\x1a\n"
#: Where a JPEG's size lies depends on what a camera or an editor wrote before it.
_BYTES = (4096, 2**18)


def sizes_of(root: Path, names: Iterable[str], count: int, title: str) -> np.ndarray:
    """Width and height of images below `root`: int64 (count, 2), ABSENT or UNREADABLE where there is none."""
    sizes = np.empty((count, 2), dtype=np.int64)
    for row, name in enumerate(track(names, f"{title}: looking at images", count, "image")):
        sizes[row] = size_of(root / name)
    return sizes


def size_of(path: Path) -> tuple[int, int]:
    """Width and height; ABSENT where there is no such file, UNREADABLE where it does not begin as an image does."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_BYTES[0])
            if head.startswith(JPEG):
                return _jpeg(head) or _jpeg(head + (file.read(_BYTES[1]) or b"")) or UNREADABLE
            if head.startswith(_PNG) and head[12:16] == b"IHDR":
                return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
            if not head:
                return UNREADABLE
            image = decode_image(head + file.readall(), path)  # rare formats, which have no header of ours
    except FileNotFoundError:
        return ABSENT
    except (OSError, UserError):
        return UNREADABLE
    return image.shape[1], image.shape[0]


def _jpeg(head: bytes) -> tuple[int, int] | None:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(head)
    except ValueError:
        return None
    return width, height
