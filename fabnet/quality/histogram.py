"""Quantiles of a stream of numbers in fixed memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Quantiles that a profile keeps.
LEVELS = tuple(round(0.05 * step, 2) for step in range(21))


@dataclass
class Histogram:
    """Counts between `edges`, float64 (B + 1,), increasing; values beyond the ends count in the first and last bin.

    `low` and `high` are the least and the greatest value seen.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    low: float = np.inf
    high: float = -np.inf

    @classmethod
    def linear(cls, low: float, high: float, bins: int) -> "Histogram":
        return cls(np.linspace(low, high, bins + 1), np.zeros(bins, dtype=np.int64))

    @classmethod
    def logarithmic(cls, high: float, bins: int) -> "Histogram":
        """From 0, with bins whose width grows in proportion to 1 + value."""
        # Processors differ in the last digit of numpy's expm1 and log1p, and quantiles are compared as bytes.
        edges = np.expm1(np.linspace(0, np.log1p(high), bins + 1)).round(9)
        return cls(edges, np.zeros(bins, dtype=np.int64))

    def add(self, values: NDArray[np.float64]) -> None:
        if len(values) == 0:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        inside = np.clip(values, self.edges[0], self.edges[-1])
        self.counts += np.histogram(inside, self.edges)[0]

    def quantiles(self, levels: ArrayLike = LEVELS) -> NDArray[np.float64]:
        """Values below which these shares of all values lie, exact to a bin; NaN where there are no values."""
        levels = np.asarray(levels, dtype=np.float64)
        total = self.counts.sum()
        if total == 0:
            return np.full(levels.shape, np.nan)
        filled = np.flatnonzero(self.counts)
        below = np.concatenate(([0], np.cumsum(self.counts[filled]))) / total
        # Between two filled bins that do not touch there are no values: the next one starts at its own left edge.
        place = np.clip(np.searchsorted(below, levels, side="left") - 1, 0, len(filled) - 1)
        bins = filled[place]
        within = (levels - below[place]) / (below[place + 1] - below[place])
        inner = self.edges[bins] + within * (self.edges[bins + 1] - self.edges[bins])
        return np.clip(inner, self.low, self.high)
