"""Which faces or frames are searched, and which of them belong to one recording."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet.frames.shards import INDEX
from fabnet.frames.store import FrameStore


def sample(count: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """`wanted` of the rows 0 ... count - 1, or all of fewer, in random order: its begin is a sample as well."""
    return np.random.default_rng(seed).permutation(count)[:wanted].astype(np.int64)


def frames_of(store: FrameStore, identities: Sequence[str], wanted: int, seed: int) -> NDArray[np.int64]:
    """Rows of frames of these people, at most `wanted`, in random order."""
    tracks = store.select(identities)
    start, length = store.tracks.start[tracks], store.tracks.length[tracks]
    ends = np.cumsum(length)
    chosen = sample(int(length.sum()), wanted, seed)
    track = np.searchsorted(ends, chosen, side="right")
    rows: NDArray[np.int64] = start[track] + chosen - (ends - length)[track]
    return rows


def origins(store: FrameStore, rows: NDArray[np.int64]) -> dict[str, list[str]]:
    """identity, video and track of frames, as lists of names (N,).

    Videos of different people may have the same name, such as `interview`, and then are different ones.
    """
    columns = ["identity", "video", "track_id"]
    order = np.argsort(rows, kind="stable")
    parts, first = [], 0
    for batch in pq.ParquetFile(store.directory / INDEX).iter_batches(columns=columns):
        inside = rows[order][(rows[order] >= first) & (rows[order] < first + len(batch))]
        parts.append(batch.take(pa.array(inside - first)))
        first += len(batch)
    found = pa.Table.from_batches(parts)
    back = pa.array(np.argsort(order))
    identity, video, track = (found[name].take(back).to_pylist() for name in columns)
    return {
        "identity": identity,
        "video": [f"{person}/{name}" for person, name in zip(identity, video, strict=True)],
        "track": track,
    }


def spread(values: NDArray[np.floating], identity: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Rows of at most `wanted` people, one each, whose values lie evenly from small to great: who is shown, by a rule.

    For each of evenly spread quantiles, the face nearest to it of somebody who is not shown yet; the earlier row of
    two equally near ones.
    """
    chosen: list[int] = []
    for place in (np.arange(wanted) + 0.5) / wanted:
        free = np.flatnonzero(~np.isin(identity, identity[chosen])) if chosen else np.arange(len(values))
        if not len(free):
            break
        chosen.append(int(free[np.argmin(np.abs(values[free] - np.quantile(values, place)))]))
    return np.array(chosen, dtype=np.int64)
