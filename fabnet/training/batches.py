"""Batches of samples: read ahead of the network by threads, or drawn on the device that holds the frames; augmented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fabnet.errors import UserError
from fabnet.frames.augment import Augmentation, to_float
from fabnet.frames.cache import FrameCache, Frames, read_ahead
from fabnet.frames.corrupt import CorruptFrame, CorruptFrames
from fabnet.frames.pairs import TRIES, PairSampler, Views, sound
from fabnet.frames.resident import ResidentSamples
from fabnet.training.world import World

# Replacements that are drawn at first for samples with a corrupt frame.
_FEW = 8


class Batch(NamedTuple):
    """Samples `numbers`, (B,): `views` (V, B, 3, H, W) in [-1, 1], and `mask` (V, B), False for padding, or None
    where no track is too short."""

    views: Tensor
    mask: Tensor | None
    numbers: Tensor


class LoadedBatch(NamedTuple):
    """Samples `numbers`, (B,), as they were read: `pictures` uint8 (V, B, H, W, 3), and `mask` as of Batch.

    Both are None where the device holds all frames and draws the samples itself. `sent` has come to pass once they are
    on the device.
    """

    pictures: Tensor | None
    mask: Tensor | None
    numbers: Tensor
    sent: torch.cuda.Event | None = None


class Batches:
    """The batches numbered from `first` on, in order, on the device of `world`, cut to this process's share.

    Every batch is a function of its number alone, so that a resumed run sees what an uninterrupted one would have seen.
    A sample with a frame that cannot be decoded gives way to another one, which is a function of its number too.

    Args:
        frames: where rows become pictures; a cache that has been loaded draws samples on its device.
        sampler: of all processes' samples.
        batch_size: samples of a batch, over all processes.
        world: the processes.
        mirror, jitter, turn: see Augmentation.
        workers: threads that read and decode.
        corrupt: takes note of frames that cannot be decoded; by default none may be.
    """

    def __init__(
        self,
        frames: Frames,
        sampler: PairSampler,
        batch_size: int,
        world: World | None = None,
        *,
        mirror: bool = False,
        jitter: float = 0.0,
        turn: float = 0.0,
        workers: int = 0,
        corrupt: CorruptFrames | None = None,
    ) -> None:
        self.frames, self.sampler, self.batch_size = frames, sampler, batch_size
        self.world, self.workers = world or World(), workers
        self.corrupt = corrupt or CorruptFrames(0)
        self.augment = Augmentation(sampler.seed, sampler.views, mirror, jitter, turn, self.world.device)
        self.resident: ResidentSamples | None = None
        if isinstance(frames, FrameCache) and frames.loaded:
            self.resident = ResidentSamples(frames, sampler, batch_size, self.corrupt)

    def load(self, number: int, size: int | None = None) -> LoadedBatch:
        """This process's share of batch `number`, which is cut to `size` samples first; it may be empty.

        Args:
            number: of the batch, from 0.
            size: of the whole batch; `batch_size` where not given.
        """
        first = number * self.batch_size
        share = self.world.share(first + np.arange(size or self.batch_size, dtype=np.int64))
        if self.resident is not None:
            self.resident.reach(first)
            begin = int(share[0]) if len(share) else first
            return LoadedBatch(None, None, torch.arange(begin, begin + len(share), device=self.world.device))
        numbers = torch.from_numpy(share)
        views, pictures = self._read(numbers)
        mask = views.mask.T.contiguous() if self.sampler.pads else None
        return self._each(LoadedBatch(pictures.unflatten(0, views.rows.T.shape), mask, numbers), self._pinned)

    @staticmethod
    def _each(loaded: LoadedBatch, change: Callable[[Tensor], Tensor]) -> LoadedBatch:
        return LoadedBatch(*(None if tensor is None else change(tensor) for tensor in loaded[:3]))  # type: ignore[arg-type]

    def _pinned(self, tensor: Tensor) -> Tensor:
        """Where a copy to the GPU is not waited for."""
        return tensor.pin_memory() if self._on_gpu and not tensor.is_cuda else tensor

    def _read(self, numbers: Tensor) -> tuple[Views, Tensor]:
        while True:
            views = self.draw(numbers)
            try:
                return views, torch.as_tensor(self.frames.decode(views.rows.T.ravel().numpy()))
            except CorruptFrame as error:
                self.corrupt.add(error)

    def draw(self, numbers: Tensor) -> Views:
        """Samples without a frame known to be corrupt: the drawn ones, or those a fixed way along the stream."""
        for tries in (0, _FEW, TRIES):
            views, bad = sound(self.sampler.draw, self.corrupt.among, numbers, tries)
            if not bad.any():
                return views
        raise UserError(f"no sample without a corrupt frame in {TRIES} draws; run the stage `extract` again")

    def finish(self, loaded: LoadedBatch) -> Batch:
        """The batch on the device, as float32 and augmented. Nothing waits for the device, and Python decides nothing
        that changes from batch to batch: a CUDA graph can replay it."""
        pictures, mask, numbers, _ = self._sent(loaded)
        if pictures is None:
            assert self.resident is not None
            views = self.resident.draw(numbers)
            pictures, mask = self.resident.pictures(views), views.mask.T if self.sampler.pads else None
        return Batch(self.augment(to_float(pictures), numbers), mask, numbers)

    def _sent(self, loaded: LoadedBatch) -> LoadedBatch:
        return self._each(loaded, lambda tensor: tensor.to(self.world.device, non_blocking=True))

    @property
    def _on_gpu(self) -> bool:
        return self.world.device.type == "cuda"

    def check(self) -> None:
        """Waits for the device.

        Raises:
            UserError: a sample that it drew had a corrupt frame.
        """
        if self.resident is not None:
            self.resident.check()

    def iterate(self, first: int, last: int, samples: int | None = None) -> Iterator[LoadedBatch]:
        """Batches first, first + 1, ..., last - 1 on the device; samples from number `samples` on are left out.

        Args:
            first, last: numbers of the first batch and of the one after the last.
            samples: total number of samples; None for no limit.
        """

        def load(number: int) -> LoadedBatch:
            left = self.batch_size if samples is None else samples - number * self.batch_size
            return self.load(number, min(self.batch_size, left))

        if self.resident is not None:
            yield from map(load, range(first, last))
            return
        loaded = read_ahead(load, range(first, last), self.workers, self.world.device)
        if not self._on_gpu:
            yield from map(self._sent, loaded)
            return
        # A batch crosses to the device, on a stream of its own, while the network learns from the one before.
        copies = torch.cuda.Stream(self.world.device)
        before: LoadedBatch | None = None
        for batch in loaded:
            with torch.cuda.stream(copies):
                on_its_way = self._sent(batch)._replace(sent=copies.record_event())
            if before is not None:
                yield self._arrived(before)
            before = on_its_way
        if before is not None:
            yield self._arrived(before)

    def _arrived(self, loaded: LoadedBatch) -> LoadedBatch:
        """The batch, once work that is given to the device from now on finds it there."""
        stream = torch.cuda.current_stream(self.world.device)
        assert loaded.sent is not None
        stream.wait_event(loaded.sent)
        for tensor in loaded[:3]:
            if tensor is not None:
                tensor.record_stream(stream)  # its memory is of another stream, which must not reuse it too early
        return loaded._replace(sent=None)
