"""Distances 1 - cosine between frames: to the nearest of others, and to the others of one group."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabnet.quality.histogram import Histogram
from fabnet.retrieval.exact import Alike, search

_BLOCK = 1024
_BINS = 1 << 16


def nearest(
    queries_ND: NDArray[np.float32], others_MD: NDArray[np.float32], left_out: tuple[Alike, ...] = ()
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest of `others` for every query, all of them of length 1.

    Returns:
        its row, the first of equally near ones, or -1 where there is none; and its distance, 0 to 2, infinite where
        there is none. (N,) each.
    """
    if not len(others_MD):
        return np.full(len(queries_ND), -1, np.int64), np.full(len(queries_ND), np.inf)
    found = search(others_MD, queries_ND, 1, left_out)
    return found.rows[:, 0], _distance(found.similarity[:, 0])


def nearest_of_group(
    vectors_ND: NDArray[np.float32], group_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `nearest`, for every vector among the others of its group."""
    row, distance = np.full(len(group_N), -1, np.int64), np.full(len(group_N), np.inf)
    for members in _groups(group_N):
        own = np.arange(len(members))
        at, distance[members] = nearest(vectors_ND[members], vectors_ND[members], (Alike(own, own),))
        row[members] = np.where(at >= 0, members[at], -1)
    return row, distance


def spread(vectors_ND: NDArray[np.float32], group_N: NDArray[np.int64]) -> Histogram:
    """The distances of all pairs of different vectors of one group, each pair once."""
    histogram = Histogram.linear(0, 2, _BINS)
    for members in _groups(group_N):
        for begin in range(0, len(members), _BLOCK):
            mine = members[begin : begin + _BLOCK]
            distances = _distance(vectors_ND[mine] @ vectors_ND[members[begin:]].T)
            histogram.add(distances[np.triu_indices_from(distances, 1)])
    return histogram


def _groups(group_N: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of each group, ascending."""
    order = np.argsort(group_N, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group_N[order])) + 1) if len(order) else ()


def _distance(cosine: NDArray[np.float32]) -> NDArray[np.float64]:
    """Infinite where the cosine is; rounding takes that of equal vectors a little beyond 1."""
    distance = 1 - cosine.astype(np.float64)
    return np.where(np.isinf(distance), distance, np.clip(distance, 0, 2))
