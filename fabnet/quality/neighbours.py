"""Exact nearest neighbours by cosine, block by block, so that memory does not grow with the number of pairs."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from fabnet.quality.histogram import Histogram

#: Which pairs of rows (n,) of the queries and rows (m,) of the others count: bool (n, m).
Allowed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]

_BLOCK = 1024
_BINS = 1 << 16


def unit(vectors_ND: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors of length 1; one without a direction stays zero, and so is at distance 1 from every other one."""
    vectors = np.asarray(vectors_ND, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)


def nearest(
    queries_ND: NDArray[np.float32], others_MD: NDArray[np.float32], allowed: Allowed | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest of `others` for every query, all of them of length 1.

    Returns:
        its row, the first of equally near ones, or -1 where none is allowed; and its distance 1 - cosine, 0 to 2,
        infinite where none is allowed. (N,) each.
    """
    row = np.full(len(queries_ND), -1, dtype=np.int64)
    distance = np.full(len(queries_ND), np.inf)
    for i, j, block in _blocks(queries_ND, others_MD):
        if allowed is not None:
            block[~allowed(i, j)] = np.inf
        at = block.argmin(axis=1)
        least = block[np.arange(len(i)), at]
        nearer = least < distance[i]
        row[i[nearer]], distance[i[nearer]] = j[at[nearer]], least[nearer]
    return row, distance


def spread(vectors_ND: NDArray[np.float32], allowed: Allowed) -> Histogram:
    """The distances of all allowed pairs of different vectors, each pair once."""
    histogram = Histogram.linear(0, 2, _BINS)
    for i, j, block in _blocks(vectors_ND, vectors_ND):
        if j[-1] > i[0]:
            histogram.add(block[allowed(i, j) & (i[:, None] < j)])
    return histogram


def _blocks(
    first_ND: NDArray[np.float32], second_MD: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Rows of the one and of the other, and the distances between them, (n, m)."""
    for begin in range(0, len(first_ND), _BLOCK):
        for other in range(0, len(second_MD), _BLOCK):
            left, right = first_ND[begin : begin + _BLOCK], second_MD[other : other + _BLOCK]
            # Rounding takes equal vectors a little beyond 1.
            distances = np.clip(1 - (left @ right.T).astype(np.float64), 0, 2)
            yield np.arange(begin, begin + len(left)), np.arange(other, other + len(right)), distances
