"""Decoded frames kept in memory."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
