"""Which frames make a sample: k different frames of one track, as a pure function of (seed, index).

Random numbers are a function of (seed, index, slot), too, so that workers, order and world size do not matter. All of
it is integer arithmetic on tensors: the same numbers on a CPU, on a GPU and inside a CUDA graph.
"""

from collections.abc import Callable, Iterable
from copy import copy
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.errors import UserError

#: How far along the endless stream of samples a replacement is drawn: no run gets there.
ELSEWHERE = 1 << 40
#: Draws after which a sample without a corrupt frame is given up.
TRIES = 1000


def _signed(bits: int) -> int:
    """64 bits as the number that int64 reads in them."""
    return (bits + 2**63) % 2**64 - 2**63


_GOLDEN, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def keys(seed: int, slots: Iterable[int]) -> Tensor:
    """What tells the draws of one seed and slot from all others, for `uniform`: int64 (S,).

    Args:
        seed: 0 or more.
        slots: which of the several draws for one index, 0 or more.
    """
    return _mix(torch.tensor([_signed(seed * _GOLDEN + slot + 1) for slot in slots], dtype=torch.int64))


def uniform(keys_S: Tensor, index_B: Tensor) -> Tensor:
    """A draw from [0, 1) for each key and index, float64 (S, B); all of them are independent.

    The finaliser of SplitMix64 (Steele et al. 2014) over a counter, 53 bits kept. Products of int64 keep their lowest
    64 bits, as those of unsigned numbers do.

    Args:
        keys_S: from `keys`, on the device of `index_B`.
        index_B: numbers of the samples, int64.
    """
    keys_S1 = keys_S[:, None]
    bits_SB = _mix(_mix(index_B * _GOLDEN + keys_S1) ^ keys_S1)
    return _shifted(bits_SB, 11).double() * 2.0**-53


def _mix(bits: Tensor) -> Tensor:
    bits = bits + _GOLDEN
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """To the right, zeros coming in from the left: int64's own shift repeats the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


# Slots of `uniform`, one for each independent decision about a sample. Frames take the slots from _FRAME on.
_TRACK, FLIP, SHIFT_X, SHIFT_Y, SCALE, TURN, _FRAME = 0, 1, 2, 3, 4, 5, 1000


class Views(NamedTuple):
    """Frames of a batch: `rows` of the index, int64 (B, k), target first.

    `mask`, (B, k), is False for padding: the track has fewer than k frames and all of them are among the other views.
    A padded place repeats a row of the track, so that it can be read like any other; the network gives it no weight.
    """

    rows: Tensor
    mask: Tensor


class PairSampler:
    """Draws samples from tracks. An epoch visits every identity once, as the released code does.

    A track of one frame holds no sample of two views: it is left out, and so are identities that have no other.

    Args:
        start, length: first row and number of rows of each track, (T,).
        identity: identity of each track as an integer, (T,).
        views: k, frames of a sample.
        seed: of all draws.

    Attributes:
        pads: whether some track has fewer than k frames, so that samples of it are padded.

    Raises:
        UserError: every track is too short.
    """

    def __init__(
        self, start: NDArray[np.int64], length: NDArray[np.int64], identity: NDArray[np.int64], views: int, seed: int
    ) -> None:
        if len(start) == 0:
            raise ValueError("there are no tracks to sample from")
        long_enough = np.asarray(length) >= min(views, 2)
        if not long_enough.any():
            raise UserError(
                f"none of {len(start)} tracks has two different frames; give longer clips or raise extract.fps"
            )
        start, length, identity = start[long_enough], length[long_enough], identity[long_enough]
        by_identity = np.argsort(identity, kind="stable")
        _, first_track, track_count = np.unique(identity[by_identity], return_index=True, return_counts=True)
        self._start, self._length, self._first_track, self._track_count = (
            torch.from_numpy(values.astype(np.int64))
            for values in (start[by_identity], length[by_identity], first_track, track_count)
        )
        self.views, self.seed = views, seed
        self.identities = len(first_track)
        self.pads = bool((length < views).any())
        self._keys = keys(seed, (_TRACK, *range(_FRAME, _FRAME + views)))
        self.order = lru_cache(maxsize=4)(self._order_of_epoch)

    def _order_of_epoch(self, epoch: int) -> Tensor:
        """The identities in the order in which an epoch visits them, (identities,)."""
        return torch.from_numpy(np.random.default_rng((self.seed, epoch)).permutation(self.identities))

    def on(self, device: torch.device) -> "PairSampler":
        """A copy whose `drawn` takes tensors on `device`."""
        there = copy(self)
        for name in ("_start", "_length", "_first_track", "_track_count", "_keys"):
            setattr(there, name, getattr(self, name).to(device))
        return there

    def draw(self, index: Tensor) -> Views:
        """The samples numbered `index`, int64 (B,) on the CPU, of the endless stream."""
        if len(index) == 0:  # a process's share of a small batch
            return self.drawn(index, index)
        epochs, which = torch.unique(index // self.identities, return_inverse=True)
        orders = [self.order(epoch) for epoch in epochs.tolist()]
        return self.drawn(index, torch.cat(orders)[which * self.identities + index % self.identities])

    def drawn(self, index: Tensor, identity: Tensor) -> Views:
        """The samples numbered `index`, whose identities are known, on any device; nothing waits for it.

        Args:
            index: numbers of the samples, (B,).
            identity: of each, as `order` has it at the sample's place in its epoch, (B,).
        """
        draws = uniform(self._keys, index)
        track = self._first_track[identity] + (draws[0] * self._track_count[identity]).long()
        frame, mask = different(self._length[track], draws[1:])
        return Views(self._start[track][:, None] + frame, mask)


def different(length: Tensor, draws_kB: Tensor) -> tuple[Tensor, Tensor]:
    """k different numbers below each `length`, (B, k), and a mask that is False where they ran out.

    The i-th is drawn among the numbers not yet taken: a draw below length - i, moved past the taken ones in order.

    Args:
        length: of each track, (B,).
        draws_kB: from [0, 1).
    """
    chosen: list[Tensor] = []
    for i, draw in enumerate(draws_kB):
        left = length - i
        number = (draw * torch.where(left > 0, left, length)).long()
        for taken in torch.stack(chosen).sort(dim=0).values if chosen else ():
            number = number + ((left > 0) & (number >= taken))
        chosen.append(number)
    numbers = torch.arange(len(draws_kB), device=length.device)
    return torch.stack(chosen, dim=1), numbers < length[:, None]


def sound(
    draw: Callable[[Tensor], Views], corrupt: Callable[[Tensor], Tensor], index: Tensor, tries: int
) -> tuple[Views, Tensor]:
    """Samples, or in place of those with a corrupt frame others, drawn a fixed way along the stream.

    All tries are drawn at once, so that nothing depends on which were needed.

    Args:
        draw: samples of given numbers, (T * B,): of B samples, and of the places of their replacements try by try.
        corrupt: which samples, (B,), have a corrupt frame among their rows, (B, k).
        index: numbers of the samples, (B,).
        tries: how many replacements there are of each.

    Returns:
        The samples, and which of them, (B,), have a corrupt frame still.
    """
    count = len(index)
    tries_T1 = torch.arange(1 + tries, device=index.device)[:, None]
    drawn = draw((index + tries_T1 * ELSEWHERE).flatten())
    bad_TB = corrupt(drawn.rows).unflatten(0, (1 + tries, count))
    failed_B = bad_TB.long().cumprod(dim=0).sum(dim=0)  # tries before the first sound one
    chosen_B = failed_B.clamp(max=tries) * count + torch.arange(count, device=index.device)
    return Views(drawn.rows[chosen_B], drawn.mask[chosen_B]), failed_B > tries
