"""Frames and crops that wait until it is known what becomes of them: in memory up to a limit, then in temporary files.

The files have no name and vanish with the buffer.
"""

import tempfile
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import SEEK_END
from pathlib import Path
from struct import Struct
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from fabnet.video.crop import Box
from fabnet.video.crop_quality import QUALITIES, Quality
from fabnet.video.faces import Frame, Track

#: Bytes of images of a FrameBuffer that stay in memory.
FRAME_BYTES = 256 << 20

# What a CropBuffer keeps in memory: encoded crops, and rows that describe them.
_JPEG_BYTES, _ROW_BYTES = 1 << 20, 1 << 16
# Number and time of the frame, offset and size of the JPEG, the box, its quality.
_ROW = Struct(f"<qdqq{4 + len(QUALITIES)}d")


@dataclass(frozen=True)
class Crop:
    """One crop, encoded: a row of the index and a member of a shard."""

    frame_no: int
    time_s: float
    box: Box
    quality: Quality
    jpeg: bytes


class CropBuffer:
    """A list of crops that grows on disk; use it as a context manager.

    Args:
        folder: for the temporary files; None takes the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        where = None if folder is None else str(folder)
        self._jpegs = tempfile.SpooledTemporaryFile(_JPEG_BYTES, dir=where)  # noqa: SIM115 - see `close`
        self._rows = tempfile.SpooledTemporaryFile(_ROW_BYTES, dir=where)  # noqa: SIM115
        self._count = self._end = 0
        self._at_end = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def append(self, crop: Crop) -> int:
        """Add a crop; returns its number."""
        if not self._at_end:
            self._jpegs.seek(0, SEEK_END)
            self._rows.seek(0, SEEK_END)
            self._at_end = True
        box, size = crop.box, self._jpegs.write(crop.jpeg)
        edges = box.left, box.top, box.right, box.bottom
        place = crop.frame_no, crop.time_s, self._end, size
        self._rows.write(_ROW.pack(*place, *edges, *crop.quality.row()))
        self._count, self._end = self._count + 1, self._end + size
        return self._count - 1

    def __getitem__(self, number: int) -> Crop:
        if not 0 <= number < self._count:
            raise IndexError(number)
        self._at_end = False
        self._rows.seek(number * _ROW.size)
        frame_no, time_s, offset, size, *numbers = _ROW.unpack(self._rows.read(_ROW.size))
        self._jpegs.seek(offset)
        return Crop(frame_no, time_s, Box(*numbers[:4]), Quality.of_row(numbers[4:]), self._jpegs.read(size))

    def __iter__(self) -> Iterator[Crop]:
        return (self[number] for number in range(self._count))

    def close(self) -> None:
        self._jpegs.close()
        self._rows.close()


class TrackBuffer(CropBuffer):
    """The crops of one track, and what decides whether the track is kept."""

    def __init__(self, track: Track, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.track = track
        self._sides, self._sharpness = array("d"), array("d")

    def add(self, crop: Crop, side: float) -> None:
        """Append a crop.

        Args:
            crop: the next of the track.
            side: of the face's square, in pixels of its frame.
        """
        self.append(crop)
        self._sides.append(side)
        self._sharpness.append(crop.quality.sharpness)

    def median_side(self) -> float:
        return float(np.median(self._sides))

    def median_sharpness(self) -> float:
        return float(np.median(self._sharpness))


@dataclass(frozen=True)
class _Written:
    """An image in the file."""

    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class FrameBuffer:
    """A queue of frames by increasing time; use it as a context manager.

    Args:
        in_memory: bytes of images that stay in memory, as they came.
    """

    def __init__(self, in_memory: int = FRAME_BYTES) -> None:
        self._limit = in_memory
        self._bytes = 0
        self._frames: deque[tuple[Frame, _Written | None]] = deque()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._free: dict[int, list[int]] = {}  # places in the file by size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frame: Frame) -> None:
        if self._bytes + frame.image.nbytes <= self._limit:
            self._bytes += frame.image.nbytes
            self._frames.append((frame, None))
        else:
            written = self._write(frame.image)
            self._frames.append((replace(frame, image=np.empty((0, 0, 3), np.uint8)), written))

    def between(self, after_s: float, until_s: float) -> Iterator[Frame]:
        """Those with after_s < time <= until_s, by increasing time.

        Args:
            after_s, until_s: seconds after the clip's first frame.
        """
        for frame, written in self._frames:
            if after_s < frame.time_s <= until_s:
                yield frame if written is None else replace(frame, image=self._read(written))

    def release(self, until_s: float) -> None:
        """Drop those with time <= until_s."""
        while self._frames and self._frames[0][0].time_s <= until_s:
            frame, written = self._frames.popleft()
            if written is None:
                self._bytes -= frame.image.nbytes
            else:
                self._free.setdefault(written.size, []).append(written.offset)

    def _write(self, image: NDArray[np.uint8]) -> _Written:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        free = self._free.get(image.nbytes)
        if free:
            offset = free.pop()
        else:
            offset, self._end = self._end, self._end + image.nbytes
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(image).data)
        return _Written(offset, image.shape)

    def _read(self, written: _Written) -> NDArray[np.uint8]:
        assert self._file is not None
        self._file.seek(written.offset)
        return np.frombuffer(self._file.read(written.size), np.uint8).reshape(written.shape)
