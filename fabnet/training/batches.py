"""Batches of samples: drawn, decoded ahead of the network by threads, and augmented on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.errors import UserError
from fabnet.frames.augment import flip, jitter, to_float
from fabnet.frames.pairs import PairSampler, Views
from fabnet.frames.store import CorruptFrame
from fabnet.training.cache import Frames
from fabnet.training.corrupt import Corrupt
from fabnet.training.world import World

# How far along the endless stream of samples a replacement is drawn: no run gets there.
_ELSEWHERE = 1 << 40
_TRIES = 1000
# Batches that are read ahead, for each thread.
_AHEAD = 2


class Batch(NamedTuple):
    """Samples `numbers`, (B,): `views` (V, B, 3, H, W) in [-1, 1], and `mask` (V, B), False for padding, or None
    where there is none."""

    views: Tensor
    mask: Tensor | None
    numbers: NDArray[np.int64]


class Loaded(NamedTuple):
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
        corrupt: Corrupt | None = None,
    ) -> None:
        self.frames, self.sampler, self.batch_size = frames, sampler, batch_size
        self.world = world or World()
        self.mirror, self.jitter_amount, self.workers = mirror, jitter_amount, workers
        self.corrupt = corrupt or Corrupt(0)

    def load(self, number: int, size: int | None = None) -> Loaded:
        """This process's share of batch `number`, which is cut to `size` samples first; it may be empty."""
        index = self.world.share(number * self.batch_size + np.arange(size or self.batch_size, dtype=np.int64))
        views, pictures = self._read(index)
        tensor = torch.from_numpy(pictures.reshape(*views.rows.T.shape, *pictures.shape[1:]))
        mask = None if views.mask.all() else torch.from_numpy(np.ascontiguousarray(views.mask.T))
        if self.world.device.type == "cuda":
            tensor, mask = tensor.pin_memory(), mask if mask is None else mask.pin_memory()
        return Loaded(tensor, mask, index)

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

    def finish(self, loaded: Loaded) -> Batch:
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

    def _sent(self, loaded: Loaded) -> Loaded:
        device = self.world.device
        mask = None if loaded.mask is None else loaded.mask.to(device, non_blocking=True)
        return Loaded(loaded.pictures.to(device, non_blocking=True), mask, loaded.numbers)

    def iterate(self, first: int, last: int, samples: int | None = None) -> Iterator[Batch]:
        """Batches first, first + 1, ..., last - 1; samples from number `samples` on are left out of them."""
        loaded = self._loaded(first, last, samples)
        if self.world.device.type != "cuda":
            yield from map(self.finish, loaded)
            return
        # A batch crosses to the device, on a stream of its own, while the network learns from the one before.
        copies = torch.cuda.Stream(self.world.device)
        before: Loaded | None = None
        for batch in loaded:
            with torch.cuda.stream(copies):
                on_its_way = self._sent(batch)._replace(sent=copies.record_event())
            if before is not None:
                yield self.finish(before)
            before = on_its_way
        if before is not None:
            yield self.finish(before)

    def _loaded(self, first: int, last: int, samples: int | None) -> Iterator[Loaded]:
        """Batches as they are read, by threads that are ahead of the network."""

        def load(number: int) -> Loaded:
            left = self.batch_size if samples is None else samples - number * self.batch_size
            return self.load(number, min(self.batch_size, left))

        if self.workers == 0:
            yield from map(load, range(first, last))
            return
        with ThreadPoolExecutor(self.workers, "decode", _use, (self.world.device,)) as pool:
            ahead: deque[Future[Loaded]] = deque()
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
