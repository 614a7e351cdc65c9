"""The path of a box through time: detections smoothed by a moving Gaussian, and read at any time between them."""

import math
from bisect import bisect_left
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fabnet.video.crop import Box

# The Gaussian is cut off at this many standard deviations.
_REACH = 3.0


class BoxPath:
    """Boxes by increasing time, read while they are still being added.

    At the time of each added box, the smoothed path is the value there of the straight line that fits the boxes around
    best, weighted by a Gaussian of their distance in time. Far from the ends that is the Gaussian filter; at the ends a
    mere weighted mean would lag behind a moving face. Between those times the path is linear, beyond them constant.

    Args:
        smoothing_s: standard deviation of the Gaussian; 0 does not smooth.
    """

    def __init__(self, smoothing_s: float) -> None:
        self._smoothing_s = smoothing_s
        self._times: list[float] = []
        self._edges: list[NDArray[np.float64]] = []
        self._smoothed: list[NDArray[np.float64]] = []  # of the first so many times: those that are final
        self._closed = False

    @property
    def last(self) -> Box:
        """The box that was added last, as it was found."""
        return Box(*self._edges[-1].tolist())

    @property
    def last_s(self) -> float:
        return self._times[-1]

    def __len__(self) -> int:
        """Number of boxes that are held."""
        return len(self._times)

    def add(self, time_s: float, box: Box) -> None:
        if self._closed or (self._times and time_s <= self._times[-1]):
            raise ValueError(f"a box at {time_s} s comes too late")
        self._times.append(time_s)
        self._edges.append(np.array([box.left, box.top, box.right, box.bottom]))

    def close(self) -> None:
        """No more boxes will be added: all of the path is final."""
        self._closed = True
        self.settle(math.inf)

    def settle(self, now_s: float) -> float:
        """No box will be added before or at `now_s`. Returns the time up to which the path is final (-inf: nowhere)."""
        reach = _REACH * self._smoothing_s
        for i in range(len(self._smoothed), len(self._times)):
            if not self._closed and now_s < self._times[i] + reach:
                break
            self._smoothed.append(self._smooth(i))
        if self._closed:
            return math.inf
        return self._times[len(self._smoothed) - 1] if self._smoothed else -math.inf

    def at(self, time_s: float) -> Box:
        """The box at a time where the path is final."""
        after = bisect_left(self._times, time_s)
        if after > len(self._smoothed) - (not self._closed):
            raise ValueError(f"the path is not final at {time_s} s")
        if after == 0 or after == len(self._smoothed):
            edges = self._smoothed[min(after, len(self._smoothed) - 1)]
        else:
            before_s, after_s = self._times[after - 1], self._times[after]
            share = (time_s - before_s) / (after_s - before_s)
            edges = (1 - share) * self._smoothed[after - 1] + share * self._smoothed[after]
        return Box(*edges.tolist())

    def forget(self, before_s: float) -> None:
        """Drop what the path from `before_s` on does not need."""
        final = len(self._smoothed)
        if final == 0:
            return
        # Smoothing the next box looks back from it; reading at `before_s` needs the box before that.
        next_s = self._times[min(final, len(self._times) - 1)]
        from_s = min(before_s, next_s - _REACH * self._smoothing_s)
        count = min(bisect_left(self._times, from_s) - 1, final - 1)
        if count > 0:
            del self._times[:count], self._edges[:count], self._smoothed[:count]

    def _smooth(self, index: int) -> NDArray[np.float64]:
        if self._smoothing_s == 0:
            return self._edges[index]
        reach = _REACH * self._smoothing_s
        centre = self._times[index]
        first = bisect_left(self._times, centre - reach)
        since = np.array([time for time in islice(self._times, first, None) if time <= centre + reach]) - centre
        edges = np.stack(self._edges[first : first + len(since)])
        weights = np.exp(-0.5 * (since / self._smoothing_s) ** 2)
        weights /= weights.sum()
        mean_s = weights @ since
        mean = weights @ edges
        spread = weights @ (since - mean_s) ** 2
        if spread == 0:
            return mean
        slope = (weights * (since - mean_s)) @ edges / spread
        return mean - slope * mean_s
