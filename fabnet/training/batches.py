"""Batches of samples: drawn, decoded ahead of the network by threads, and augmented on the device."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.errors import UserError
from fabnet.frames.augment import flip, jitter, to_float
from fabnet.frames.pairs import PairSampler, Views
from fabnet.frames.store import CorruptFrame
from fabnet.training.world import World

logger = logging.getLogger(__name__)

# How far along the endless stream of samples a replacement is drawn: no run gets there.
_ELSEWHERE = 1 << 40
_TRIES = 1000

# Batches that are read ahead, for each thread.
_AHEAD = 2


class CorruptFrames:
    """The corrupt frames met so far; threads may share it.

    Args:
        limit: how many frames may be passed over.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rows: set[int] = set()
        self._lock = Lock()

    def add(self, error: CorruptFrame) -> None:
        """Name a frame and pass it over from now on.

        Raises:
            UserError: it is one too many.
        """
        with self._lock:
            if error.row in self._rows:
                return
            if len(self._rows) >= self.limit:
                raise UserError(
                    f"{error}; frames passed over before it: {len(self._rows)}, all that corrupt_limit allows. Run the "
                    "stage `extract` again, or raise corrupt_limit"
                )
            self._rows.add(error.row)
            logger.warning(f"{error}; passed over, {len(self._rows)} of at most {self.limit}")

    def among(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which samples, (B,), have one of these frames among their rows, (B, k)."""
        with self._lock:
            if not self._rows:
                return np.zeros(len(rows), dtype=bool)
            return np.asarray(np.isin(rows, list(self._rows)).any(axis=1), dtype=bool)

    @property
    def rows(self) -> list[int]:
        """Numbers of the frames, sorted."""
        with self._lock:
            return sorted(self._rows)

    def remember(self, rows: Iterable[int]) -> None:
        """Take over frames of a checkpoint or of another process: they count, and are not named again.

        Raises:
            UserError: there are too many together.
        """
        with self._lock:
            self._rows.update(rows)
            if len(self._rows) > self.limit:
                raise UserError(
                    f"{len(self._rows)} frames cannot be decoded, more than the {self.limit} of corrupt_limit. "
                    "Run the stage `extract` again, or raise corrupt_limit"
                )


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


class Batch(NamedTuple):
    """Samples `numbers`, (B,): `views` (V, B, 3, H, W) in [-1, 1], and `mask` (V, B), False for padding, or None
    where there is none."""

    views: Tensor
    mask: Tensor | None
    numbers: NDArray[np.int64]


class HostBatch(NamedTuple):
    """A batch as it was read: `pictures` are uint8 (V, B, H, W, 3) on the host, pinned if there is a GPU, or on their
    way to it, where they are once `sent` has come to pass."""

    pictures: Tensor
    mask: Tensor | None
    numbers: NDArray[np.int64]
    sent: torch.cuda.Event | None = None


class Batches:
    """The batches numbered from `first` on, in order, on the device of `world`, cut to this process's share.

    Every batch is a function of its number alone, so that a resumed run sees what an uninterrupted one would have seen.
    A sample with a frame that cannot be decoded gives way to another one, which is a function of its number too.
    """

    def __init__(
        self,
        frames: Frames,
        sampler: PairSampler,
        batch_size: int,
        world: World | None = None,
        *,
        mirror: bool = False,
        jitter_amount: float = 0.0,
        workers: int = 0,
        corrupt: CorruptFrames | None = None,
    ) -> None:
        self.frames, self.sampler, self.batch_size = frames, sampler, batch_size
        self.world = world or World()
        self.mirror, self.jitter_amount, self.workers = mirror, jitter_amount, workers
        self.corrupt = corrupt or CorruptFrames(0)

    def load(self, number: int, size: int | None = None) -> HostBatch:
        """This process's share of batch `number`, which is cut to `size` samples first; it may be empty.

        Args:
            number: of the batch, from 0.
            size: of the whole batch; `batch_size` where not given.
        """
        index = self.world.share(number * self.batch_size + np.arange(size or self.batch_size, dtype=np.int64))
        views, pictures = self._read(index)
        tensor = torch.from_numpy(pictures.reshape(*views.rows.T.shape, *pictures.shape[1:]))
        mask = None if views.mask.all() else torch.from_numpy(np.ascontiguousarray(views.mask.T))
        if self.world.device.type == "cuda":
            tensor, mask = tensor.pin_memory(), mask if mask is None else mask.pin_memory()
        return HostBatch(tensor, mask, index)

    def _read(self, index: NDArray[np.int64]) -> tuple[Views, NDArray[np.uint8]]:
        while True:
            views = self.draw(index)
            try:
                return views, self.frames.decode(views.rows.T.ravel())
            except CorruptFrame as error:
                self.corrupt.add(error)

    def draw(self, index: NDArray[np.int64]) -> Views:
        """Samples without a frame known to be corrupt: the drawn ones, or those a fixed way along the stream."""
        views = self.sampler.draw(index)
        place = index.copy()
        while (bad := self.corrupt.among(views.rows)).any():
            place[bad] += _ELSEWHERE
            if place.max() > _TRIES * _ELSEWHERE:
                raise UserError(f"no sample without a corrupt frame in {_TRIES} draws; run the stage `extract` again")
            other = self.sampler.draw(place[bad])
            views.rows[bad], views.mask[bad] = other.rows, other.mask
        return views

    def finish(self, loaded: HostBatch) -> Batch:
        """The batch on the device, as float32 and augmented."""
        device = self.world.device
        if loaded.sent is None:
            loaded = self._sent(loaded)
        else:
            stream = torch.cuda.current_stream(device)
            stream.wait_event(loaded.sent)
            for tensor in (loaded.pictures, loaded.mask):
                if tensor is not None:
                    tensor.record_stream(stream)  # its memory is of another stream, which must not reuse it too early
        views_VBCHW = to_float(loaded.pictures)
        if self.mirror:
            views_VBCHW = flip(views_VBCHW, self.sampler.seed, loaded.numbers)
        if self.jitter_amount:
            views_VBCHW = jitter(views_VBCHW, self.jitter_amount, self.sampler.seed, loaded.numbers)
        return Batch(views_VBCHW, loaded.mask, loaded.numbers)

    def _sent(self, loaded: HostBatch) -> HostBatch:
        device = self.world.device
        mask = None if loaded.mask is None else loaded.mask.to(device, non_blocking=True)
        return HostBatch(loaded.pictures.to(device, non_blocking=True), mask, loaded.numbers)

    def iterate(self, first: int, last: int, samples: int | None = None) -> Iterator[Batch]:
        """Batches first, first + 1, ..., last - 1; samples from number `samples` on are left out of them.

        Args:
            first, last: numbers of the first batch and of the one after the last.
            samples: total number of samples; None for no limit.
        """
        loaded = self._loaded(first, last, samples)
        if self.world.device.type != "cuda":
            yield from map(self.finish, loaded)
            return
        # A batch crosses to the device, on a stream of its own, while the network learns from the one before.
        copies = torch.cuda.Stream(self.world.device)
        before: HostBatch | None = None
        for batch in loaded:
            with torch.cuda.stream(copies):
                on_its_way = self._sent(batch)._replace(sent=copies.record_event())
            if before is not None:
                yield self.finish(before)
            before = on_its_way
        if before is not None:
            yield self.finish(before)

    def _loaded(self, first: int, last: int, samples: int | None) -> Iterator[HostBatch]:
        """Batches as they are read, by threads that are ahead of the network."""

        def load(number: int) -> HostBatch:
            left = self.batch_size if samples is None else samples - number * self.batch_size
            return self.load(number, min(self.batch_size, left))

        if self.workers == 0:
            yield from map(load, range(first, last))
            return
        with ThreadPoolExecutor(self.workers, "decode", _use, (self.world.device,)) as pool:
            ahead: deque[Future[HostBatch]] = deque()
            number = first
            try:
                while number < last or ahead:
                    while number < last and len(ahead) < _AHEAD * self.workers:
                        ahead.append(pool.submit(load, number))
                        number += 1
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()


def _use(device: torch.device) -> None:
    """Make `device` the one whose context this thread pins memory in."""
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
