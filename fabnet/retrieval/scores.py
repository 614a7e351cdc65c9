"""Scores of a search, one per query: of its nearest neighbours, of its whole ranking, and of chance.

Shapes: Q queries, M faces of the gallery, k neighbours, D numbers of an embedding. A query without a neighbour, or
whose expression no other face has, has no score: NaN.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fabnet.retrieval.attributes import MAP, Attributes, compared
from fabnet.retrieval.exact import Alike

#: Queries whose comparisons with the gallery are held at a time.
_QUERIES = 256

Scores = dict[str, NDArray[np.float64]]


def of_neighbours(queries: Attributes, gallery: Attributes, rows_Qk: NDArray[np.int64]) -> Scores:
    """Means over the neighbours of each query; -1 among `rows_Qk` stands for none."""
    there = rows_Qk >= 0
    pairs = compared(queries.take(np.arange(len(queries))[:, None]), gallery.take(rows_Qk))
    return {metric: _mean(values, there) for metric, values in pairs.items()}


def of_chance(queries: Attributes, gallery: Attributes, left_out: Sequence[Alike]) -> Scores:
    """What a random order of the gallery would give, exactly: the expectation over all pairs that are not left out.

    That of the average precision with R relevant faces among N: at rank i, a face is relevant with probability R / N,
    and then R - 1 of the other N - 1 are, so that the precision there is (1 + (i - 1) (R - 1) / (N - 1)) / i.
    Over all ranks: (H + (N - H) (R - 1) / (N - 1)) / N, where H = 1 + 1/2 + ... + 1/N.
    """
    parts: list[Scores] = []
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(gallery) + 1))])
    for some in _blocks(len(queries)):
        allowed = allowed_pairs(left_out, some)
        asked = queries.take(some)
        pairs = compared(asked.take(np.arange(len(asked))[:, None]), gallery.take(np.arange(len(gallery))[None]))
        part = {metric: _mean(values, allowed) for metric, values in pairs.items()}
        relevant = _relevant(queries, gallery, some)
        if relevant is not None:
            count, found = allowed.sum(axis=1), (relevant & allowed).sum(axis=1)
            h = harmonic[count]
            with np.errstate(invalid="ignore", divide="ignore"):
                expected = (h + np.where(count > 1, (count - h) * (found - 1) / (count - 1), 0)) / count
            part[MAP] = np.where(found > 0, 100 * expected, np.nan)
        parts.append(part)
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def average_precision(
    queries: Attributes,
    gallery: Attributes,
    queries_QD: NDArray[np.float32],
    gallery_MD: NDArray[np.float32],
    settings: Sequence[Sequence[Alike]],
) -> list[NDArray[np.float64]]:
    """Average precision (Q,), in percent, of ranking the gallery by cosine for faces of the query's expression.

    One for each of `settings`, which are pairs left out; faces as near as each other stand in the gallery's order.

    Args:
        queries_QD, gallery_MD: of length 1.
    """
    found: list[list[NDArray[np.float64]]] = [[] for _ in settings]
    for some in _blocks(len(queries)):
        order = np.argsort(-(queries_QD[some] @ gallery_MD.T), axis=1, kind="stable")
        relevant = _relevant(queries, gallery, some)
        if relevant is None:
            raise ValueError("these faces have no expression")
        relevant = np.take_along_axis(relevant, order, axis=1)
        for left_out, parts in zip(settings, found, strict=True):
            allowed = np.take_along_axis(allowed_pairs(left_out, some), order, axis=1)
            hit = relevant & allowed
            with np.errstate(invalid="ignore", divide="ignore"):
                precision = np.cumsum(hit, axis=1) / np.cumsum(allowed, axis=1)
                parts.append(100 * np.where(hit, precision, 0).sum(axis=1) / hit.sum(axis=1))
    return [np.concatenate(parts) for parts in found]


def allowed_pairs(left_out: Sequence[Alike], some: slice) -> NDArray[np.bool_]:
    """Which faces of the gallery, (some of Q, M), may be neighbours of some of the queries."""
    allowed = np.ones((len(left_out[0].queries[some]), len(left_out[0].gallery)), dtype=bool)
    for pairs in left_out:
        mine = pairs.queries[some, None]
        allowed &= (mine != pairs.gallery) | (mine < 0)
    return allowed


def _blocks(count: int) -> Iterator[slice]:
    for first in range(0, count, _QUERIES):
        yield slice(first, min(first + _QUERIES, count))


def _relevant(queries: Attributes, gallery: Attributes, some: slice) -> NDArray[np.bool_] | None:
    if queries.expression is None or gallery.expression is None:
        return None
    same: NDArray[np.bool_] = queries.expression[some, None] == gallery.expression
    return same


def _mean(values: NDArray[np.float64], which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Over the columns that are meant; NaN where there are none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: NDArray[np.float64] = np.where(which, values, 0).sum(axis=1) / which.sum(axis=1)
    return mean
