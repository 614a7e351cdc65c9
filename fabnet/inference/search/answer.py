"""Queries and an index become neighbours: rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fabnet import tables
from fabnet.errors import UserError
from fabnet.inference.search.queries import Query, stacked
from fabnet.retrieval import ann, exact
from fabnet.retrieval.index import Index


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        table: fabnet.tables.Neighbours.
        rows: numbers of the rows of the index, of each line of the table.
        missing: neighbours that were asked for and are not there, because rows were left out.
        recall: of the approximate part at this k, and the number of vectors that it was measured on; None if exact.
    """

    table: pd.DataFrame
    rows: np.ndarray
    missing: int
    recall: tuple[float, int] | None


def answer(
    index: Index,
    queries: Sequence[Query],
    k: int,
    left_out: Sequence[str] = ("track", "video"),
    approximate: bool = False,
    sample: int = 100,
) -> Answer:
    """The k nearest rows to each query, without the query itself.

    Args:
        left_out: of track, video, identity: rows that share it with the query, as far as it is known.
        approximate: use the approximate part, and measure what it misses on so many vectors of the index.

    Raises:
        UserError: the index has fewer than k rows, or no approximate part.
    """
    count = len(index.vectors)
    if k > count:
        raise UserError(f"--k {k}: the index has {count} rows; ask for at most {count}")
    own = exact.Alike(np.array([query.row for query in queries]), np.arange(count))
    pairs = [own, *(_alike([getattr(one, name) for one in queries], index.column(name)) for name in left_out)]
    recall = None
    if approximate:
        if index.ann is None:
            raise UserError(
                f"{index.directory}: has no approximate part; build it with `fabnet index build ... --ann hnsw`"
            )
        part = ann.read(index.ann, count, index.vectors.shape[1])
        found = ann.search_ann(part, stacked(queries), k, pairs)
        chosen = np.unique(np.linspace(0, count - 1, min(sample, count)).astype(np.int64))
        others = min(k, count - 1)
        if others:
            recall = ann.recall(part, index.vectors, chosen, index.vectors.take(chosen), others), len(chosen)
    else:
        found = exact.search(index.vectors, stacked(queries), k, pairs)
    there = found.rows >= 0
    table = _table(index, queries, found, there)
    return Answer(table, found.rows[there], int((~there).sum()), recall)


def _alike(names: Sequence[str], column: pa.ChunkedArray) -> exact.Alike:
    """As exact.alike, without an object for each row."""
    asked = sorted({name for name in names if name})
    if not asked:
        return exact.Alike(np.full(len(names), -1), np.full(len(column), -1))
    rows = pc.fill_null(pc.index_in(column, pa.array(asked, column.type)), -1).to_numpy().astype(np.int64)
    return exact.Alike(np.array([asked.index(name) if name else -1 for name in names]), rows)


def _table(index: Index, queries: Sequence[Query], found: exact.Neighbours, there: np.ndarray) -> pd.DataFrame:
    query, rank = np.nonzero(there)
    rows = index.take(found.rows[there]).reset_index(drop=True)
    table = pd.DataFrame(
        {
            "query": pd.Series([queries[i].name for i in query.tolist()], dtype="str"),
            "rank": (rank + 1).astype(np.int64),
            "id": rows["id"],
            "similarity": found.similarity[there].astype(np.float64),
            **{name: rows[name] for name in ("video", "track", "identity", "time_s")},
        }
    )
    return tables.check(table, tables.Neighbours, "neighbours")
