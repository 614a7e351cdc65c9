"""Samples drawn on the device that holds their frames, by the functions of `pairs`, inside a CUDA graph too.

The identities of an epoch are in an order that the host draws. It is laid out in a table on the device before the
samples that need it, many epochs at a time where they are short; all else is a function of the samples' numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fabnet.errors import UserError
from fabnet.frames.cache import FrameCache
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.pairs import ELSEWHERE, TRIES, PairSampler, Views, sound

# Batches for which the table lasts, and samples by which the share of corrupt ones is told.
_LASTS = 16
_ASKED = 1 << 14
# A sample is left with a corrupt frame once in 2 to the power of this.
_CERTAIN = 60


class ResidentSamples:
    """Draws samples whose frames are in a cache that has been loaded, without waiting for its device.

    Args:
        cache: all frames of the sampler's tracks.
        sampler: that draws on the host, whose samples these are.
        batch: most samples that are drawn at a time.
        corrupt: frames that no sample may have; all are known by now.

    Raises:
        UserError: hardly a sample is without a corrupt frame.
    """

    def __init__(self, cache: FrameCache, sampler: PairSampler, batch: int, corrupt: CorruptFrames) -> None:
        device = cache.device
        self._host, self._sampler, self._batch = sampler, sampler.on(device), batch
        self._pictures = cache.pictures
        self._slot_of = torch.from_numpy(cache.slot_of).to(device)
        self._tries = _tries(sampler, corrupt)
        self._corrupt = torch.zeros(len(cache.slot_of), dtype=torch.bool)
        self._corrupt[[row for row in corrupt.rows if row < len(self._corrupt)]] = True
        self._corrupt = self._corrupt.to(device)
        self._epochs = (_LASTS * batch - 2) // sampler.identities + 2
        tries, identities = 1 + self._tries, sampler.identities
        self._orders = torch.zeros((tries, self._epochs, identities), dtype=torch.int64, device=device)
        self._begin = torch.zeros((tries, 1), dtype=torch.int64, device=device)
        self._begun: list[int] = []
        self._failed = torch.zeros((), dtype=torch.bool, device=device)

    def reach(self, first: int) -> None:
        """Make ready for the samples from number `first` on, as many as a batch has."""
        places = [first + number * ELSEWHERE for number in range(1 + self._tries)]
        needed = [
            (place // self._host.identities, (place + self._batch - 1) // self._host.identities) for place in places
        ]
        if self._begun and all(
            begin <= low and high < begin + self._epochs for begin, (low, high) in zip(self._begun, needed, strict=True)
        ):
            return
        self._begun = [low for low, _ in needed]
        orders = [self._host.order(begin + epoch) for begin in self._begun for epoch in range(self._epochs)]
        self._write(self._orders, torch.stack(orders))
        self._write(self._begin, torch.tensor(self._begun))

    @staticmethod
    def _write(table: Tensor, values: Tensor) -> None:
        """In the order of the work that was given to the device before, and without waiting for that."""
        pinned = values.pin_memory() if table.is_cuda else values
        table.copy_(pinned.view(table.shape), non_blocking=True)

    def draw(self, index: Tensor) -> Views:
        """The samples numbered `index`, int64 (B,) on the device, for which `reach` has been called."""
        if self._tries == 0:
            return self._draw(index)
        views, bad = sound(self._draw, self._has_corrupt, index, self._tries)
        self._failed.logical_or_(bad.any())
        return views

    def pictures(self, views: Views) -> Tensor:
        """Frames of samples, uint8 (k, B, H, W, 3)."""
        return self._pictures[self._slot_of[views.rows.T]]

    def check(self) -> None:
        """Waits for the device.

        Raises:
            UserError: a sample that was drawn had a corrupt frame still after all tries.
        """
        if self._failed:
            raise _hopeless(self._tries)

    def _draw(self, places: Tensor) -> Views:
        """Samples (T * B,): the n-th B of them are those of the n-th try."""
        places_TB = places.view(1 + self._tries, -1)
        number_T1 = torch.arange(1 + self._tries, device=places.device)[:, None]
        epoch_TB = places_TB // self._host.identities - self._begin
        identity_TB = self._orders[number_T1, epoch_TB, places_TB % self._host.identities]
        return self._sampler.drawn(places, identity_TB.flatten())

    def _has_corrupt(self, rows: Tensor) -> Tensor:
        return self._corrupt[rows].any(dim=1)


def _tries(sampler: PairSampler, corrupt: CorruptFrames) -> int:
    """How often another sample is drawn in place of one with a corrupt frame, so that hardly any is left with one.

    The number is fixed because a device that is not waited for cannot stop early.
    """
    if not corrupt.rows:
        return 0
    share = float(corrupt.among(sampler.draw(torch.arange(_ASKED)).rows).double().mean())
    needed = math.inf if share == 1 else math.ceil(_CERTAIN * math.log(2) / -math.log(max(share, 1 / _ASKED)))
    if needed > TRIES:
        raise _hopeless(TRIES)
    return int(needed)


def _hopeless(tries: int) -> UserError:
    return UserError(f"no sample without a corrupt frame in {tries} draws; run the stage `extract` again")
