"""Batches of samples: drawn, decoded ahead of the network by threads, and augmented on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.frames.augment import flip, jitter, to_float
from fabnet.frames.pairs import PairSampler


class Frames(Protocol):
    """Where rows of the index become pictures; `fabnet.frames.store.FrameStore` is one."""

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]: ...


class FrameCache:
    """Keeps decoded frames of tracks up to `limit` bytes, each decoded once; the others are decoded every time.

    Threads may share it: a frame decoded twice at once is written twice with the same bytes, and is marked as kept
    only after it has been written.

    Args:
        frames: where the others come from.
        start, length: first row and number of rows of each track, (T,). Tracks are kept from the first on.
        size: H = W of a frame.
        limit: bytes.
    """

    def __init__(
        self, frames: Frames, start: NDArray[np.int64], length: NDArray[np.int64], size: int, limit: int
    ) -> None:
        self.frames = frames
        kept = np.cumsum(length) <= limit // (3 * size * size)
        count = int(length[kept].sum())
        first_slot = np.cumsum(length[kept]) - length[kept]
        self.slot_of = np.full(int((start + length).max()), -1, dtype=np.int32)
        within = np.arange(count) - np.repeat(first_slot, length[kept])
        self.slot_of[np.repeat(start[kept], length[kept]) + within] = np.arange(count, dtype=np.int32)
        self.pictures = np.empty((count, size, size, 3), dtype=np.uint8)
        self.present = np.zeros(count, dtype=bool)

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """RGB images (N, H, W, 3) of the frames `rows`, (N,)."""
        slots = self.slot_of[rows]
        ready = slots >= 0
        ready[ready] = self.present[slots[ready]]
        if ready.all():
            return self.pictures[slots]
        pictures = np.empty((len(rows), *self.pictures.shape[1:]), dtype=np.uint8)
        pictures[ready] = self.pictures[slots[ready]]
        pictures[~ready] = decoded = self.frames.decode(rows[~ready])
        keep = slots[~ready] >= 0
        self.pictures[slots[~ready][keep]] = decoded[keep]
        self.present[slots[~ready][keep]] = True
        return pictures


class Batches:
    """The batches numbered from `first` on, in order, as (V, B, 3, H, W) in [-1, 1] on `device`.

    Every batch is a function of its number alone, so that a resumed run sees what an uninterrupted one would have seen.
    """

    def __init__(
        self,
        frames: Frames,
        sampler: PairSampler,
        batch_size: int,
        device: torch.device,
        *,
        mirror: bool = False,
        jitter_amount: float = 0.0,
        workers: int = 0,
    ) -> None:
        self.frames, self.sampler, self.batch_size, self.device = frames, sampler, batch_size, device
        self.mirror, self.jitter_amount, self.workers = mirror, jitter_amount, workers

    def load(self, number: int, size: int | None = None) -> tuple[NDArray[np.int64], Tensor]:
        """Sample numbers (B,) and pictures uint8 (V, B, H, W, 3) of batch `number`, cut to `size` samples."""
        index = number * self.batch_size + np.arange(size or self.batch_size, dtype=np.int64)
        rows = self.sampler.draw(index).rows.T
        pictures = self.frames.decode(rows.ravel())
        tensor = torch.from_numpy(pictures.reshape(*rows.shape, *pictures.shape[1:]))
        return index, tensor.pin_memory() if self.device.type == "cuda" else tensor

    def finish(self, index: NDArray[np.int64], pictures_VBHWC: Tensor) -> Tensor:
        views_VBCHW = to_float(pictures_VBHWC.to(self.device, non_blocking=True))
        if self.mirror:
            views_VBCHW = flip(views_VBCHW, self.sampler.seed, index)
        if self.jitter_amount:
            views_VBCHW = jitter(views_VBCHW, self.jitter_amount, self.sampler.seed, index)
        return views_VBCHW

    def iterate(self, first: int, last: int) -> Iterator[Tensor]:
        """Batches first, first + 1, ..., last - 1."""
        if self.workers == 0:
            for number in range(first, last):
                yield self.finish(*self.load(number))
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="decode") as pool:
            ahead: deque[Future[tuple[NDArray[np.int64], Tensor]]] = deque()
            number = first
            try:
                while number < last or ahead:
                    while number < last and len(ahead) < 4 * self.workers:
                        ahead.append(pool.submit(self.load, number))
                        number += 1
                    yield self.finish(*ahead.popleft().result())
            finally:
                for future in ahead:
                    future.cancel()
