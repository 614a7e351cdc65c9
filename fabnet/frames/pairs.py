"""Which frames make a sample: k different frames of one track, as a pure function of (seed, index).

Random numbers are a function of (seed, index, slot), too, so that workers, order and world size do not matter.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fabnet.errors import UserError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, index: NDArray[np.int64], slot: int) -> NDArray[np.float64]:
    """One draw from [0, 1) for each index; draws of different seeds, indices and slots are independent.

    The finaliser of SplitMix64 (Steele et al. 2014) over a counter, 53 bits kept.

    Args:
        seed: 0 or more.
        index: any shape; that of the result.
        slot: which of the several draws for one index, 0 or more.
    """
    with np.errstate(over="ignore"):
        key = _mix(np.uint64(seed) * _GOLDEN + np.uint64(slot) + np.uint64(1))
        bits = _mix(_mix(index.astype(np.uint64) * _GOLDEN + key) ^ key)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(bits: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    bits = np.asarray(bits, dtype=np.uint64) + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


# Slots of `uniform`, one for each independent decision about a sample. Frames take the slots from _FRAME on.
_TRACK, FLIP, SHIFT_X, SHIFT_Y, SCALE, _FRAME = 0, 1, 2, 3, 4, 1000


@dataclass(frozen=True)
class Views:
    """Frames of a batch: `rows` of the index, (B, k), target first.

    `mask`, (B, k), is False for padding: the track has fewer than k frames and all of them are among the other views.
    A padded place repeats a row of the track, so that it can be read like any other; the network gives it no weight.
    """

    rows: NDArray[np.int64]
    mask: NDArray[np.bool_]


class PairSampler:
    """Draws samples from tracks. An epoch visits every identity once, as the released code does.

    A track of one frame holds no sample of two views: it is left out, and so are identities that have no other.

    Args:
        start, length: first row and number of rows of each track, (T,).
        identity: identity of each track as an integer, (T,).
        views: k, frames of a sample.
        seed: of all draws.

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
        order = np.argsort(identity, kind="stable")
        self.start, self.length = start[order].astype(np.int64), length[order].astype(np.int64)
        _, self.first_track, self.track_count = np.unique(identity[order], return_index=True, return_counts=True)
        self.views, self.seed = views, seed
        self.identities = len(self.first_track)
        self._order = lru_cache(maxsize=4)(self._order_of_epoch)

    def _order_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, epoch)).permutation(self.identities)

    def draw(self, index: NDArray[np.int64]) -> Views:
        """The samples numbered `index`, (B,), of the endless stream."""
        epochs, places = np.divmod(index, self.identities)
        identity = np.empty_like(index)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            identity[here] = self._order(int(epoch))[places[here]]
        nth = (uniform(self.seed, index, _TRACK) * self.track_count[identity]).astype(np.int64)
        track = self.first_track[identity] + nth
        frame, mask = different(self.length[track], self.views, self.seed, index)
        return Views(self.start[track][:, None] + frame, mask)


def different(
    length: NDArray[np.int64], count: int, seed: int, index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`count` different numbers below each `length`, (B, count), and a mask that is False where they ran out.

    The i-th is drawn among the numbers not yet taken: a draw below length - i, moved past the taken ones in order.

    Args:
        length: of each track, (B,).
        count: of frames to draw.
        seed: of the run.
        index: numbers of the samples, (B,).
    """
    chosen = np.zeros((len(length), count), dtype=np.int64)
    mask = np.ones((len(length), count), dtype=bool)
    for i in range(count):
        left = length - i
        mask[:, i] = left > 0
        draw = (uniform(seed, index, _FRAME + i) * np.where(left > 0, left, length)).astype(np.int64)
        for taken in np.sort(chosen[:, :i], axis=1).T:
            draw += (left > 0) & (draw >= taken)
        chosen[:, i] = draw
    return chosen, mask
