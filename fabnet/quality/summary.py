"""What a directory of frames holds, in tables small enough to judge: one pass over the index, piece by piece."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet.frames.shards import INDEX, run_starts
from fabnet.frames.split import apportion
from fabnet.quality.histogram import Histogram

_ROWS = 1 << 18
_COLUMNS = ["track_id", "identity", "left", "right", "sharpness", "brightness"]


@dataclass(frozen=True)
class Summary:
    """Tables that health is judged by, and the spread of what is measured per frame.

    Attributes:
        rows: frames in the index.
        tracks: per track, in the order of the index: track_id, identity, split, first (row of the index), frames, and
            the mean `brightness`, `sharpness` and `side` (pixels of the box) of its frames, the brightness of the
            `darkest` and of the `brightest`.
        identities: per identity: identity, split, tracks, frames.
        splits: per split: split, identities, tracks, frames, and by how many percentage points its share of the
            identities and of the frames is off from what params ask for, beyond what rounding to whole identities does.
        histograms: of `brightness`, `sharpness` and `side` over frames.
    """

    rows: int
    tracks: pd.DataFrame
    identities: pd.DataFrame
    splits: pd.DataFrame
    histograms: dict[str, Histogram]


def summarise(frames: Path, split_of: Mapping[str, str], percent: Mapping[str, int]) -> Summary:
    """One pass over the index of `frames`, which is legal; what stays in memory is a few numbers per track.

    Args:
        split_of: of every identity.
        percent: wanted size of each split.
    """
    histograms = {
        "brightness": Histogram.linear(0, 255, 510),
        "sharpness": Histogram.logarithmic(1e6, 600),
        "side": Histogram.logarithmic(1e5, 600),
    }
    tracks = _tracks(frames / INDEX, histograms)
    tracks.insert(2, "split", tracks["identity"].map(dict(split_of)))
    grouped = tracks.groupby("identity", sort=True)
    identities = pd.DataFrame({"split": grouped["split"].first(), "tracks": grouped.size()})
    identities["frames"] = grouped["frames"].sum()
    identities = identities.reset_index()
    rows = int(tracks["frames"].sum())
    return Summary(rows, tracks, identities, _splits(identities, percent), histograms)


def _splits(identities: pd.DataFrame, percent: Mapping[str, int]) -> pd.DataFrame:
    wanted = apportion(len(identities), percent) if len(identities) >= len(percent) else dict.fromkeys(percent, 0)
    grouped = identities.groupby("split")
    table = pd.DataFrame({"identities": grouped.size(), **{name: grouped[name].sum() for name in ("tracks", "frames")}})
    table = table.rename_axis("split").reindex(list(percent), fill_value=0).reset_index()
    share = table["split"].map(wanted) / max(len(identities), 1)
    for measure in ("identities", "frames"):
        table[f"{measure}_off_pct"] = 100 * (table[measure] / max(table[measure].sum(), 1) - share).abs()
    return table


def _tracks(path: Path, histograms: Mapping[str, Histogram]) -> pd.DataFrame:
    names: list[pa.Array] = []
    people: list[pa.Array] = []
    parts: list[dict[str, NDArray]] = []
    row = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_ROWS, columns=_COLUMNS):
        if len(batch) == 0:
            continue
        values = {name: batch[name].to_numpy() for name in ("sharpness", "brightness")}
        values["side"] = batch["right"].to_numpy() - batch["left"].to_numpy()
        for name, histogram in histograms.items():
            histogram.add(values[name])
        first = run_starts(batch["track_id"])
        part: dict[str, NDArray] = {"first": first + row, "frames": np.diff(first, append=len(batch))}
        part |= {name: np.add.reduceat(array, first) for name, array in values.items()}
        part["darkest"] = np.minimum.reduceat(values["brightness"], first)
        part["brightest"] = np.maximum.reduceat(values["brightness"], first)
        names.append(batch["track_id"].take(pa.array(first)))
        people.append(batch["identity"].take(pa.array(first)))
        parts.append(part)
        row += len(batch)
    if not parts:
        columns = ["track_id", "identity", "first", "frames", "brightness", "sharpness", "side", "darkest", "brightest"]
        return pd.DataFrame({name: pd.Series([], dtype=str if name in columns[:2] else float) for name in columns})
    return _joined(pa.chunked_array(names), pa.chunked_array(people), parts)


def _joined(names: pa.ChunkedArray, people: pa.ChunkedArray, parts: list[dict[str, NDArray]]) -> pd.DataFrame:
    """Tracks of all pieces; one that a piece's end cut in two becomes one again."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    first = run_starts(names)
    how = {"first": np.minimum, "darkest": np.minimum, "brightest": np.maximum}
    joined = {name: how.get(name, np.add).reduceat(array, first) for name, array in whole.items()}
    for name in ("brightness", "sharpness", "side"):
        joined[name] = joined[name] / joined["frames"]
    at = pa.array(first)
    table = pd.DataFrame(joined)
    table.insert(0, "identity", people.take(at).to_pandas())
    table.insert(0, "track_id", names.take(at).to_pandas())
    return table


def pieces(frames: Path, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Pieces of the index, each with the number of its first row."""
    row = 0
    for batch in pq.ParquetFile(frames / INDEX).iter_batches(batch_size=_ROWS, columns=columns):
        yield row, batch
        row += len(batch)
