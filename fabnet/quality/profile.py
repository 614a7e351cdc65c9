"""What a directory of frames holds, as tables and quantiles, and how far those have moved from an earlier profile."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.frames.shards import INDEX, run_starts
from fabnet.frames.split import apportion

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
        """An empty histogram of bins of equal width.

        Args:
            low, high: the first and the last edge.
            bins: their number, B.
        """
        return cls(np.linspace(low, high, bins + 1), np.zeros(bins, dtype=np.int64))

    @classmethod
    def logarithmic(cls, high: float, bins: int) -> "Histogram":
        """From 0, with bins whose width grows in proportion to 1 + value.

        Args:
            high: the last edge.
            bins: their number.
        """
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


_ROWS = 1 << 18
_COLUMNS = ["track_id", "identity", "left", "right", "sharpness", "brightness"]
# Columns of the index that may be null, and whether a track's mean is that of their absolute values.
_NULLABLE = {
    "face_px": False,
    "cut_off": False,
    "presence": False,
    "roll_deg": True,
    "pitch_deg": True,
    "yaw_deg": True,
    "mouth_open": False,
    "eyes_open": False,
}
_MEANS = ("brightness", "sharpness", "side")


@dataclass(frozen=True)
class Summary:
    """Tables that health is judged by, and the spread of what is measured per frame.

    Attributes:
        rows: frames in the index.
        tracks: per track, in the order of the index: track_id, identity, split, first (row of the index), frames, and
            the mean `brightness`, `sharpness` and `side` (pixels of the box) of its frames, the brightness of the
            `darkest` and of the `brightest`; and the means of `face_px`, `cut_off`, `presence`, `mouth_open` and
            `eyes_open`, and of the absolute `roll_deg`, `pitch_deg` and `yaw_deg`, over the frames where they are
            known, NaN where they are of none.
        identities: per identity: identity, split, tracks, frames, and in how many of its clips several of its tracks
            are on display at once.
        splits: per split: split, identities, tracks, frames, and by how many percentage points its share of the
            identities and of the frames is off from what params ask for, beyond what rounding to whole identities does.
        histograms: of `brightness`, `sharpness`, `side` and of what may be null over frames, with its sign.
    """

    rows: int
    tracks: pd.DataFrame
    identities: pd.DataFrame
    splits: pd.DataFrame
    histograms: dict[str, Histogram]


def summarise(frames: Path, split_of: Mapping[str, str], percent: Mapping[str, int]) -> Summary:
    """One pass over the index of `frames`, which is legal; what stays in memory is a few numbers per track.

    Args:
        frames: a directory of track shards.
        split_of: of every identity.
        percent: wanted size of each split.
    """
    histograms = {
        "brightness": Histogram.linear(0, 255, 510),
        "sharpness": Histogram.logarithmic(1e6, 600),
        "side": Histogram.logarithmic(1e5, 600),
        "face_px": Histogram.logarithmic(1e5, 600),
        "cut_off": Histogram.linear(0, 1, 200),
        "presence": Histogram.linear(0, 1, 200),
        "roll_deg": Histogram.linear(-180, 180, 720),
        "pitch_deg": Histogram.linear(-180, 180, 720),
        "yaw_deg": Histogram.linear(-90, 90, 360),
        "mouth_open": Histogram.logarithmic(10, 400),
        "eyes_open": Histogram.logarithmic(10, 400),
    }
    tracks = _tracks(frames / INDEX, histograms)
    tracks.insert(2, "split", tracks["identity"].map(dict(split_of)))
    grouped = tracks.groupby("identity", sort=True)
    identities = pd.DataFrame({"split": grouped["split"].first(), "tracks": grouped.size()})
    identities["frames"] = grouped["frames"].sum()
    crowded = _clips_crowded(frames / INDEX)
    identities["clips_crowded"] = crowded.reindex(identities.index, fill_value=0)
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
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_ROWS, columns=[*_COLUMNS, *_NULLABLE]):
        if len(batch) == 0:
            continue
        values = {name: batch[name].to_numpy() for name in ("sharpness", "brightness")}
        values["side"] = batch["right"].to_numpy() - batch["left"].to_numpy()
        for name in _MEANS:
            histograms[name].add(values[name])
        for name, unsigned in _NULLABLE.items():
            column = batch[name].to_numpy(zero_copy_only=False)
            known = np.isfinite(column)
            histograms[name].add(column[known])
            values[name] = np.where(known, np.abs(column) if unsigned else column, 0)
            values[_count(name)] = known.astype(np.int64)
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
        columns = ["track_id", "identity", "first", "frames", *_MEANS, *_NULLABLE, "darkest", "brightest"]
        return pd.DataFrame({name: pd.Series([], dtype=str if name in columns[:2] else float) for name in columns})
    return _joined(pa.chunked_array(names), pa.chunked_array(people), parts)


def _count(name: str) -> str:
    return f"{name}_known"


def _joined(names: pa.ChunkedArray, people: pa.ChunkedArray, parts: list[dict[str, NDArray]]) -> pd.DataFrame:
    """Tracks of all pieces; one that a piece's end cut in two becomes one again."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    first = run_starts(names)
    how = {"first": np.minimum, "darkest": np.minimum, "brightest": np.maximum}
    joined = {name: how.get(name, np.add).reduceat(array, first) for name, array in whole.items()}
    for name in _MEANS:
        joined[name] = joined[name] / joined["frames"]
    for name in _NULLABLE:
        known = joined.pop(_count(name))
        joined[name] = np.divide(joined[name], known, out=np.full(len(known), np.nan), where=known > 0)
    at = pa.array(first)
    table = pd.DataFrame(joined)
    table.insert(0, "identity", people.take(at).to_pandas())
    table.insert(0, "track_id", names.take(at).to_pandas())
    return table


def _clips_crowded(path: Path) -> pd.Series:
    """By identity, where there are any: its clips in which two of its tracks are on display at once."""
    spans = []
    for batch in pq.ParquetFile(path).iter_batches(_ROWS, columns=["track_id", "identity", "clip", "time_s"]):
        if len(batch) == 0:
            continue
        first = run_starts(batch["track_id"])
        at, times = pa.array(first), batch["time_s"].to_numpy()
        begin, end = np.minimum.reduceat(times, first), np.maximum.reduceat(times, first)
        names = {name: batch[name].take(at).to_pandas() for name in ("identity", "clip")}
        spans.append(pd.DataFrame({**names, "begin": begin, "end": end}))
    if not spans:
        return pd.Series([], dtype=int)
    # A track that a piece's end cut in two is two spans that do not meet. If any two meet, two neighbours do.
    ordered = pd.concat(spans).sort_values(["identity", "clip", "begin"])
    meets = ordered["begin"] <= ordered.groupby(["identity", "clip"])["end"].shift()
    return ordered[meets].groupby("identity")["clip"].nunique()


def pieces(frames: Path, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Pieces of the index, each with the number of its first row.

    Args:
        frames: a directory of track shards.
        columns: of the index, to read.
    """
    row = 0
    for batch in pq.ParquetFile(frames / INDEX).iter_batches(batch_size=_ROWS, columns=columns):
        yield row, batch
        row += len(batch)


_FORMAT = 1


def profile(summary: Summary) -> dict[str, Any]:
    """Quantiles of every measure that any frame has, as profile.json holds them."""
    measured = {name: histogram for name, histogram in summary.histograms.items() if histogram.counts.any()}
    quantiles: dict[str, NDArray] = {name: histogram.quantiles() for name, histogram in measured.items()}
    quantiles["frames_of_track"] = summary.tracks["frames"].quantile(LEVELS).to_numpy()
    quantiles["tracks_of_identity"] = summary.identities["tracks"].quantile(LEVELS).to_numpy()
    rounded = {name: [float(f"{value:.6g}") for value in values] for name, values in quantiles.items()}
    return {"format": _FORMAT, "levels": list(LEVELS), "frames": summary.rows, "quantiles": rounded}


def drift(now: Mapping[str, Any], before: Mapping[str, Any]) -> pd.DataFrame:
    """Columns measure and distance: between two profiles, for the measures that both hold.

    The distance is the mean difference of the quantiles over the earlier interquartile range, which is taken as at
    least 5 % of the median, since a measure that never varied would otherwise drift without end.

    Args:
        now, before: as `profile` makes and `read_profile` reads them.
    """
    rows = []
    for name in sorted(set(now["quantiles"]) & set(before["quantiles"])):
        new, old = (np.asarray(one["quantiles"][name], dtype=np.float64) for one in (now, before))
        middle = np.interp([0.25, 0.5, 0.75], LEVELS, old)
        scale = max(middle[2] - middle[0], 0.05 * abs(middle[1]), 1e-6)
        rows.append({"measure": name, "distance": float(np.abs(new - old).mean() / scale)})
    return pd.DataFrame(rows, columns=["measure", "distance"]).astype({"measure": str, "distance": float})


def read_profile(path: Path) -> dict[str, Any]:
    """A profile.json.

    Raises:
        UserError: it is absent, of a later format, or no profile.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such profile; correct health.profile, or set it to null")
    try:
        found = read_json(path)
        sound = found["levels"] == list(LEVELS) and all(
            np.isfinite(np.asarray(values, dtype=float)).all() and len(values) == len(LEVELS)
            for values in found["quantiles"].values()
        )
        newer = found["format"] != _FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        sound, newer = False, False
    if newer:
        raise UserError(f"{path}: is a profile of format {found['format']}, and this fabnet reads format {_FORMAT}")
    if not sound:
        raise UserError(f"{path}: is no profile; make it again with the stage `validate`")
    return dict(found)
