"""The crops of a track while it is live: in temporary files, so that a long track fills no memory."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from tempfile import SpooledTemporaryFile

import numpy as np

from fabnet.video.crop import Box
from fabnet.video.faces import Track

# What is shorter never reaches the disk.
_JPEG_BYTES, _ROW_BYTES = 1 << 20, 1 << 16
_ROW = Struct("<qdq6d")


@dataclass(frozen=True)
class Crop:
    """One crop, encoded: a row of the index and a member of a shard."""

    frame_no: int
    time_s: float
    box: Box
    sharpness: float
    brightness: float
    jpeg: bytes


class TrackSpool:
    """Takes the crops of a track one by one and gives them back in that order.

    Args:
        folder: for the temporary files.

    Attributes:
        count: crops so far.
    """

    def __init__(self, track: Track, folder: Path) -> None:
        self.track = track
        self.count = 0
        self._sides, self._sharpness = array("d"), array("d")
        self._jpegs = SpooledTemporaryFile(_JPEG_BYTES, dir=str(folder))  # noqa: SIM115 - see `close`
        self._rows = SpooledTemporaryFile(_ROW_BYTES, dir=str(folder))  # noqa: SIM115

    def __enter__(self) -> "TrackSpool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, crop: Crop, side: float) -> None:
        """Append a crop; `side` is that of the face in pixels of its frame."""
        box = crop.box
        edges = box.left, box.top, box.right, box.bottom
        size = self._jpegs.write(crop.jpeg)
        self._rows.write(_ROW.pack(crop.frame_no, crop.time_s, size, *edges, crop.sharpness, crop.brightness))
        self._sides.append(side)
        self._sharpness.append(crop.sharpness)
        self.count += 1

    def median_side(self) -> float:
        return float(np.median(self._sides))

    def median_sharpness(self) -> float:
        return float(np.median(self._sharpness))

    def crops(self) -> Iterator[Crop]:
        self._jpegs.seek(0)
        self._rows.seek(0)
        while row := self._rows.read(_ROW.size):
            frame_no, time_s, size, *edges, sharpness, brightness = _ROW.unpack(row)
            yield Crop(frame_no, time_s, Box(*edges), sharpness, brightness, self._jpegs.read(size))

    def close(self) -> None:
        self._jpegs.close()
        self._rows.close()
