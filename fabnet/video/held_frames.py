"""Frames that wait until it is known where the faces in them are, in bounded memory."""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from fabnet.video.faces import Frame

#: Bytes of images that are kept in memory; the rest lies in a temporary file without a name.
IN_MEMORY = 256 << 20


@dataclass(frozen=True)
class _Written:
    """An image in the file."""

    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class HeldFrames:
    """A queue of frames by increasing time. A context: its file goes with it."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._limit = in_memory
        self._bytes = 0
        self._frames: deque[tuple[Frame, _Written | None]] = deque()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._free: dict[int, list[int]] = {}  # places in the file by size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Those with after_s < time <= until_s."""
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
