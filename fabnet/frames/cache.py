"""Decoded frames in memory: of the host, where each is decoded when first asked for, or of a GPU, all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.frames.corrupt import CorruptFrame, CorruptFrames
from fabnet.progress import Progress

T = TypeVar("T")
R = TypeVar("R")

# Pieces of work that are done ahead, for each thread, and bytes of frames that are decoded as one when all are.
_AHEAD = 2
_PIECE = 2**23


class Frames(Protocol):
    """Where rows of the index become pictures, (N, H, W, 3); `fabnet.frames.store.FrameStore` is one."""

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8] | Tensor: ...


class FrameCache:
    """Keeps decoded frames of tracks up to `limit` bytes.

    On the host each is decoded when it is first asked for, or all are by `load`; those beyond the limit are decoded
    every time. Threads may share it: a frame decoded twice at once is written twice with the same bytes, and is marked
    as kept only after it has been written.

    Args:
        frames: where the others come from.
        start, length: first row and number of rows of each track, (T,). Tracks are kept from the first on.
        size: H = W of a frame.
        limit: bytes; None for all.
        device: whose memory holds them.

    Attributes:
        pictures: uint8 (slots, H, W, 3) on `device`.
        loaded: whether all frames of the tracks are there.

    Raises:
        torch.OutOfMemoryError: the device has not the memory.
    """

    def __init__(
        self,
        frames: Frames,
        start: NDArray[np.int64],
        length: NDArray[np.int64],
        size: int,
        limit: int | None,
        device: torch.device | None = None,
    ) -> None:
        self.frames = frames
        self.device = device or torch.device("cpu")
        kept = np.ones(len(length), dtype=bool) if limit is None else np.cumsum(length) <= limit // frame_bytes(size)
        first_slot = np.cumsum(length[kept]) - length[kept]
        count = int(length[kept].sum())
        within = np.arange(count) - np.repeat(first_slot, length[kept])
        self._row_of = np.repeat(start[kept], length[kept]) + within
        self.slot_of = np.full(int((start + length).max()), -1, dtype=np.int32)
        self.slot_of[self._row_of] = np.arange(count, dtype=np.int32)
        self.pictures = torch.empty((count, size, size, 3), dtype=torch.uint8, device=self.device)
        self._present = np.zeros(count, dtype=bool)
        self._whole, self.loaded = bool(kept.all()), False

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8] | Tensor:
        """RGB images (N, H, W, 3) of the frames `rows`, (N,); of a cache on the host."""
        kept = self.pictures.numpy()
        slots = self.slot_of[rows]
        ready = slots >= 0
        ready[ready] = self._present[slots[ready]]
        if ready.all():
            return kept[slots]
        if not (slots >= 0).any():
            return self.frames.decode(rows)
        pictures = np.empty((len(rows), *kept.shape[1:]), dtype=np.uint8)
        pictures[ready] = kept[slots[ready]]
        pictures[~ready] = decoded = np.asarray(self.frames.decode(rows[~ready]))
        keep = slots[~ready] >= 0
        kept[slots[~ready][keep]] = decoded[keep]
        self._present[slots[~ready][keep]] = True
        return pictures

    def load(self, corrupt: CorruptFrames, threads: int, title: str, silent: bool = False) -> None:
        """Decode all frames of the tracks, a piece at a time, so that no more than a few pieces lie on the host.

        Args:
            corrupt: takes note of frames that cannot be decoded, in whose place is black.
            threads: that decode.
            title: of the progress shown.
            silent: show none.

        Raises:
            UserError: there are more corrupt frames than allowed.
        """
        if not self._whole:
            raise ValueError("a cache that leaves out tracks cannot hold all frames")
        piece = max(1, _PIECE // frame_bytes(self.pictures.shape[1]))

        def decode(first: int) -> Tensor:
            decoded = _sound(self.frames, self._row_of[first : first + piece], corrupt)
            # From pinned memory the copy does not wait for the device.
            return decoded.pin_memory() if self.device.type == "cuda" and not decoded.is_cuda else decoded

        pieces = range(0, len(self._row_of), piece)
        with Progress(title, len(self._row_of), "frames", silent=silent) as progress:
            for first, decoded in zip(pieces, read_ahead(decode, pieces, threads, self.device), strict=True):
                self.pictures[first : first + piece].copy_(decoded, non_blocking=True)
                progress.advance(len(decoded))
        self.loaded = True


def frame_bytes(size: int) -> int:
    """Bytes of a decoded frame of `size` x `size` pixels."""
    return 3 * size * size


def _sound(frames: Frames, rows: NDArray[np.int64], corrupt: CorruptFrames) -> Tensor:
    """The frames `rows`, (N, H, W, 3); those that cannot be decoded are noted, and black."""
    while True:
        bad = corrupt.which(rows)
        try:
            decoded = torch.as_tensor(frames.decode(rows[~bad]))
        except CorruptFrame as error:
            corrupt.add(error)
            continue
        if not bad.any():
            return decoded
        pictures = decoded.new_zeros((len(rows), *decoded.shape[1:]))
        pictures[torch.from_numpy(~bad).to(pictures.device)] = decoded
        return pictures


def read_ahead(work: Callable[[T], R], items: Iterable[T], threads: int, device: torch.device) -> Iterator[R]:
    """Results of `work`, in the order of `items`, by threads that are a few items ahead.

    Args:
        work: what is done with an item.
        items: taken as the threads come to them.
        threads: how many; 0: no other than this one, and nothing ahead.
        device: that the threads pin memory for.
    """
    if threads == 0:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, "decode", _use, (device,)) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _use(device: torch.device) -> None:
    """Make `device` the one whose context this thread pins memory in."""
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
