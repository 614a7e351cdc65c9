"""The approximate part of an index, by faiss (the extra `ann`): faster, and it may miss neighbours.

How many it misses is measured, never assumed: see `recall`.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fabnet.errors import UserError, counted, one_line
from fabnet.retrieval.exact import Alike, Gallery, Neighbours, search

Kind = Literal["hnsw", "ivf"]

#: Vectors that are added at a time.
_ROWS = 1 << 16

#: HNSW: links of a vector, and candidates while it is built. Neighbours are looked for among `EFFORT` candidates.
LINKS, _CONSTRUCTION, EFFORT = 16, 60, 256

#: IVF: cells for the root of the number of vectors, vectors that a cell is learnt from, and the share that is searched.
_CELLS_PER_ROOT, _LEARNT_FROM, _PROBED = 2, 64, 24

_SEED = 2018


def load_faiss() -> ModuleType:
    """Raises UserError where faiss is not installed."""
    try:
        import faiss
    except ImportError:
        raise UserError(
            "--ann needs faiss, which is not installed: pip install 'fabnet[ann]'; without --ann the search is exact"
        ) from None
    return faiss


def builder(kind: Kind) -> Callable[[Gallery, Path], dict[str, Any]]:
    """What writes the approximate part of a kind to a path, and returns what is to be known of it."""
    load_faiss()  # before anything is written

    def build_part(vectors_MD: Gallery, path: Path) -> dict[str, Any]:
        faiss = load_faiss()
        part = build(kind, vectors_MD)
        faiss.write_index(part, str(path))
        return {"kind": kind, "faiss": faiss.__version__}

    return build_part


def build(kind: Kind, vectors_MD: Gallery) -> Any:
    """The part in memory, of vectors of length 1.

    Args:
        kind: hnsw or ivf.
        vectors_MD: the gallery.
    """
    faiss = load_faiss()
    count, dimension = vectors_MD.shape
    if kind == "hnsw":
        part = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
        part.hnsw.efConstruction = _CONSTRUCTION
    else:
        cells = max(1, min(round(_CELLS_PER_ROOT * math.sqrt(count)), count // 39))  # faiss wants 39 of each
        part = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT)
        part.cp.seed = _SEED
        part.train(_spread(vectors_MD, cells * _LEARNT_FROM))
    for first in range(0, count, _ROWS):
        part.add(np.ascontiguousarray(vectors_MD[first : first + _ROWS], np.float32))
    return part


def _spread(vectors_MD: Gallery, most: int) -> NDArray[np.float32]:
    """At most so many vectors, from all over the gallery, read in order."""
    count = vectors_MD.shape[0]
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
    blocks = [
        np.asarray(vectors_MD[first : first + _ROWS], np.float32)[
            chosen[(chosen >= first) & (chosen < first + _ROWS)] - first
        ]
        for first in range(0, count, _ROWS)
    ]
    return np.ascontiguousarray(np.concatenate(blocks))


def read(path: Path, count: int, dimension: int) -> Any:
    """The part on disk, mapped where faiss can map it.

    Args:
        path: of ann.faiss.
        count, dimension: of the vectors beside it.

    Raises:
        UserError: it is damaged, or belongs to other vectors.
    """
    faiss = load_faiss()
    try:
        part = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise UserError(f"{path}: is damaged: {one_line(error, None)[-200:]}; build the index again") from None
    if (part.ntotal, part.d) != (count, dimension):
        raise UserError(f"{path}: holds {part.ntotal} vectors of {part.d}, not {count} of {dimension}; build it again")
    return part


def search_ann(
    part: Any, queries_QD: NDArray[np.float32], k: int, left_out: Sequence[Alike] = (), effort: int = EFFORT
) -> Neighbours:
    """As `exact.search`, approximately. Pairs that do not count are passed over among more neighbours.

    Args:
        part: of faiss, as `build` or `read` gives it.
        queries_QD: of length 1.
        k: neighbours of each query.
        left_out: pairs that do not count.
        effort: candidates that HNSW looks at; more are slower and find more.

    Raises:
        UserError: the gallery has fewer than k rows.
    """
    if k > part.ntotal:
        raise UserError(
            f"{counted(k, 'neighbour')} asked for, but the gallery has {counted(part.ntotal, 'row')}; ask for at "
            f"most {part.ntotal}"
        )
    faiss = load_faiss()
    beyond = sum((_most_alike(pairs) for pairs in left_out), 0)
    asked = min(k + beyond, part.ntotal)
    if hasattr(part, "hnsw"):
        params = faiss.SearchParametersHNSW(efSearch=max(effort, 2 * asked))
    else:
        params = faiss.SearchParametersIVF(nprobe=max(1, math.ceil(part.nlist / _PROBED)))
    queries = np.ascontiguousarray(queries_QD, np.float32)
    similarity, rows = part.search(queries, asked, params=params)
    counts = rows >= 0
    for pairs in left_out:
        mine = pairs.queries[:, None]
        counts &= ~((mine >= 0) & (mine == pairs.gallery[rows]))
    # Those that count first, in their order.
    first = np.argsort(~counts, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(counts, first, axis=1)
    return Neighbours(
        np.where(found, np.take_along_axis(rows, first, axis=1), -1),
        np.where(found, np.take_along_axis(similarity, first, axis=1), -np.inf).astype(np.float32),
    )


def _most_alike(pairs: Alike) -> int:
    """The most rows that are like one query."""
    asked = np.unique(pairs.queries[pairs.queries >= 0])
    same = pairs.gallery[np.isin(pairs.gallery, asked)]
    return int(np.bincount(np.searchsorted(asked, same)).max()) if len(same) else 0


def recall(part: Any, vectors_MD: Gallery, rows: NDArray[np.int64], queries_QD: NDArray[np.float32], k: int) -> float:
    """The share of the k exact neighbours of some of its own vectors that the approximate part finds, 0 to 1.

    Args:
        part: of faiss.
        vectors_MD: the gallery, of length 1.
        rows: (Q,), which vectors these are: each is left out of its own neighbours.
        queries_QD: the vectors themselves.
        k: at most the number of the other vectors.
    """
    own = Alike(rows, np.arange(vectors_MD.shape[0]))
    exact = search(vectors_MD, queries_QD, k, [own])
    return share(exact, search_ann(part, queries_QD, k, [own]))


def share(exact: Neighbours, found: Neighbours) -> float:
    """The share of the exact neighbours that were found; as near as the last of them is as good.

    Args:
        exact, found: of the same queries and k.
    """
    last = np.where(exact.rows >= 0, exact.similarity, np.inf).min(axis=1, keepdims=True)
    wanted = (exact.rows >= 0).sum(axis=1)
    hits = ((found.rows >= 0) & (found.similarity >= last - 1e-6)).sum(axis=1)
    return float(np.minimum(hits, wanted).sum() / max(wanted.sum(), 1))
