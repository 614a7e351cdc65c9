"""Exact nearest neighbours by cosine, block by block: the reference, in memory that grows neither with the gallery nor
with the number of pairs.

Shapes: Q queries, M rows of the gallery, D dimensions of an embedding, k neighbours; B rows of a block of the gallery,
dealt into G groups of B / G rows.

A block costs a multiplication of matrices and one pass over its similarities, for the greatest of each group. Only
groups that hold something better than a query's k-th neighbour so far are looked at again, and soon few do.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fabnet.errors import UserError, counted

#: Queries that are multiplied at a time, and similarities that result: many, so that the calls of a block cost little,
#: and no more than a processor caches.
_QUERIES = 1024
_SIMILARITIES = 1 << 23

#: Rows of a block at least, and at most: few queries make large ones, since each costs some calls.
_ROWS = 2048, 131072

#: Rows of a group.
_GROUP = 16


class Gallery(Protocol):
    """Rows that are read in order, such as those of an array or of a file (fabnet.retrieval.index)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


@dataclass(frozen=True)
class Alike:
    """Pairs of a query and a row that share something, such as a track: those whose numbers are equal and not negative.

    Attributes:
        queries: (Q,); gallery: (M,).
    """

    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.queries.ndim != 1 or self.gallery.ndim != 1:
            raise ValueError(f"one number a row: {self.queries.shape} and {self.gallery.shape}")


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of the gallery, the nearest first and, of equally near ones, the earlier row first.

    Attributes:
        rows: (Q, k); -1 where fewer than k rows are left.
        similarity: (Q, k), cosine; -inf where there is no row.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]


def unit(vectors_ND: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors of length 1; one without a direction stays zero, and so has cosine 0 with every other one."""
    vectors = np.asarray(vectors_ND, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)


def alike(queries: Sequence[Any] | NDArray[Any], gallery: Sequence[Any] | NDArray[Any]) -> Alike:
    """Pairs with the same name (a track, a video, an identity); what has no name (None, NaN, "") is like nothing.

    Args:
        queries: names of Q.
        gallery: names of M.
    """
    import pandas as pd

    names = pd.Series([*queries, *gallery], dtype=object)
    codes, _ = pd.factorize(names.where(names != "", None), sort=False)
    numbers = codes.astype(np.int64)
    return Alike(numbers[: len(queries)], numbers[len(queries) :])


@torch.no_grad()
def search(
    gallery_MD: Gallery,
    queries_QD: NDArray[np.floating],
    k: int,
    left_out: Sequence[Alike] = (),
    device: torch.device | str = "cpu",
) -> Neighbours:
    """The k rows of the gallery with the greatest cosine to each query.

    Args:
        gallery_MD: float32 or float16, of length 1 (see `unit`); may be a memory map, and is read once, in order.
        queries_QD: of length 1, too.
        k: neighbours of each query.
        left_out: pairs that do not count, by any of these.
        device: that multiplies.

    Raises:
        UserError: the gallery is empty, or has fewer than k rows, or a number is not finite.
        ValueError: shapes that do not fit each other.
    """
    count, dimension = gallery_MD.shape
    if queries_QD.ndim != 2 or queries_QD.shape[1] != dimension or k < 1:
        raise ValueError(f"{k} neighbours of {queries_QD.shape} queries in a gallery of {gallery_MD.shape}")
    for pairs in left_out:
        if (len(pairs.queries), len(pairs.gallery)) != (len(queries_QD), count):
            raise ValueError(
                f"{len(queries_QD)} queries and {count} rows, but {len(pairs.queries)} and {len(pairs.gallery)} names"
            )
    if count == 0:
        raise UserError("the gallery is empty: it has no rows to search")
    if k > count:
        raise UserError(
            f"{counted(k, 'neighbour')} asked for, but the gallery has {counted(count, 'row')}; ask for at most {count}"
        )
    if not np.isfinite(queries_QD).all():
        raise UserError("a query holds a number that is not finite")
    size = block_size(len(queries_QD), count)
    parts = []
    for first in range(0, len(queries_QD), _QUERIES):
        some = slice(first, first + _QUERIES)
        queries = torch.from_numpy(np.array(queries_QD[some], dtype=np.float32)).to(device)
        parts.append(_Part(queries, k, [pairs.queries[some] for pairs in left_out], size))
    # Every block of the gallery meets all queries, so that a gallery larger than memory is read once.
    for first, block in _blocks(gallery_MD, size, device):
        names = [pairs.gallery[first : first + len(block)] for pairs in left_out]
        for part in parts:
            part.meet(block, first, names)
    rows = np.concatenate([part.rows.cpu().numpy() for part in parts]) if parts else np.zeros((0, k), np.int64)
    found = [part.similarity.cpu().numpy() for part in parts]
    return Neighbours(rows, np.concatenate(found) if found else np.zeros((0, k), np.float32))


def block_size(queries: int, count: int) -> int:
    """Rows of the gallery that are multiplied at a time by so many queries: whole groups, not much beyond `count`.

    Args:
        queries: Q.
        count: rows that are wanted at a time.
    """
    least, most = _ROWS
    size = min(max(_SIMILARITIES // max(min(queries, _QUERIES), 1), least), most)
    return min(size // _GROUP, -(-count // _GROUP)) * _GROUP


def _blocks(gallery_MD: Gallery, size: int, device: torch.device | str) -> Iterator[tuple[int, torch.Tensor]]:
    """The first row and the float32 values of each block, (B or fewer, D); one buffer serves all that are copied."""
    count, dimension = gallery_MD.shape
    buffer = None
    for first in range(0, count, size):
        rows = gallery_MD[first : min(first + size, count)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a memory map cannot be written to; nobody does
            block = torch.from_numpy(np.ascontiguousarray(rows))
        if block.dtype != torch.float32 and torch.device(device).type == "cpu":
            if buffer is None:
                buffer = torch.empty(size, dimension)
            block = buffer[: len(rows)].copy_(block)
        yield first, block.to(device, torch.float32)


class _Part:
    """Some of the queries, and their neighbours among the rows met so far."""

    def __init__(self, queries_QD: torch.Tensor, k: int, names: Sequence[NDArray[np.int64]], size: int) -> None:
        count, device = len(queries_QD), queries_QD.device
        self._names = names
        # GEMV is single-threaded: a single query is duplicated, which makes it a multi-threaded GEMM.
        self._queries_DQ = (queries_QD.repeat(2, 1) if count == 1 else queries_QD).T
        self._similarity_BQ = torch.empty(size, self._queries_DQ.shape[1], device=device)
        self.similarity = torch.full((count, k), -torch.inf, device=device)
        self.rows = torch.full((count, k), -1, dtype=torch.int64, device=device)

    def meet(self, block_BD: torch.Tensor, first: int, names: Sequence[NDArray[np.int64]]) -> None:
        """Take the rows of a block, which begin at `first`, into account."""
        filled = self._similarity_BQ[: len(block_BD)]
        torch.mm(block_BD, self._queries_DQ, out=filled)
        self._similarity_BQ[len(block_BD) :] = -torch.inf
        similarity_BQ = self._similarity_BQ[:, : len(self.rows)]
        for mine, theirs in zip(self._names, names, strict=True):
            _leave_out(similarity_BQ, mine, theirs)
        self._keep(similarity_BQ, first)

    def _keep(self, similarity_BQ: torch.Tensor, first: int) -> None:
        k = self.rows.shape[1]
        groups_GxQ = similarity_BQ.unflatten(0, (-1, _GROUP))
        greatest_GQ = groups_GxQ.amax(dim=1)
        best_Q = greatest_GQ.amax(dim=0)
        if best_Q.isnan().any():
            raise UserError(
                f"one of {len(similarity_BQ)} rows of the gallery from {first} on holds a number that is not finite"
            )
        worst_Q = self.similarity[:, -1]
        # A row as near as the k-th neighbour comes later in the gallery, and so does not count.
        (hit,) = (best_Q > worst_Q).nonzero(as_tuple=True)
        if not len(hit):
            return
        greatest_GH, worst_H = greatest_GQ.index_select(1, hit), worst_Q[hit]
        better_GH = greatest_GH > worst_H
        if k <= len(greatest_GH) and worst_H.isinf().any():
            # k rows at least are as near as the k-th of the groups' greatest: nothing below that is looked at.
            better_GH &= greatest_GH >= greatest_GH.topk(k, dim=0).values[-1]
        group, at = better_GH.nonzero(as_tuple=True)
        values = groups_GxQ[group, :, hit[at]]
        inside, member = (values > worst_H[at, None]).nonzero(as_tuple=True)
        self._merge(hit[at[inside]], values[inside, member], first + group[inside] * _GROUP + member)

    def _merge(self, query: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> None:
        """Sort candidates, in the order of their rows, in with the neighbours so far; keep the first k of each."""
        k = self.rows.shape[1]
        query, order = query.sort(stable=True)
        hit, at, counts = query.unique_consecutive(return_inverse=True, return_counts=True)
        place = k + torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[at]
        width = k + int(counts.max())
        all_values = values.new_full((len(hit), width), -torch.inf)
        all_rows = rows.new_full((len(hit), width), -1)
        all_values[:, :k], all_rows[:, :k] = self.similarity[hit], self.rows[hit]
        all_values[at, place], all_rows[at, place] = values[order], rows[order]
        # Stable: of equally near rows, the earlier ones stay first.
        ranked, order = all_values.sort(dim=1, descending=True, stable=True)
        self.similarity[hit] = ranked[:, :k]
        self.rows[hit] = all_rows.gather(1, order[:, :k])


def _leave_out(similarity_BQ: torch.Tensor, queries: NDArray[np.int64], block: NDArray[np.int64]) -> None:
    """Put -inf where numbers are equal; rows that share no query's number, mostly all, are not touched."""
    rows = np.flatnonzero(np.isin(block, queries[queries >= 0]))
    if len(rows):
        same = torch.from_numpy(block[rows, None] == queries[None, :]).to(similarity_BQ.device)
        at = torch.from_numpy(rows).to(similarity_BQ.device)
        similarity_BQ[at] = similarity_BQ[at].masked_fill(same, -torch.inf)
