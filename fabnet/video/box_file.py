"""A table of boxes, of any number of rows in any order: read once into a file that gives those of one clip."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet import tables
from fabnet.errors import TableError
from fabnet.files import atomic_directory

_COLUMNS = ("time_s", "left", "top", "right", "bottom")
_ROWS = 1 << 16


class BoxFile:
    """Boxes grouped by clip in one mapped array, found by a 64-bit hash of the clip's name. Made by `write`."""

    def __init__(self, directory: Path) -> None:
        self._keys = np.load(directory / "keys.npy", mmap_mode="r")
        self._starts = np.load(directory / "starts.npy", mmap_mode="r")
        self._rows = np.load(directory / "rows.npy", mmap_mode="r")

    def __contains__(self, clip: str) -> bool:
        return len(self.rows(clip)) > 0

    def rows(self, clip: str) -> NDArray[np.float64]:
        """Boxes of a clip as float64 (N, 5): time_s, left, top, right, bottom, by increasing time."""
        key = _hashes(np.array([clip], dtype=object))[0]
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return np.empty((0, len(_COLUMNS)))
        return np.array(self._rows[self._starts[place] : self._starts[place + 1]])

    @classmethod
    def write(cls, table: Path, directory: Path) -> None:
        """Check a table (tables.Boxes; CSV or Parquet) and sort its rows by clip and time.

        Holds some bytes for each clip of the table, and none for each row.

        Raises:
            TableError: the table is missing, illegal, empty, or has two boxes of a clip at one time.
        """
        keys, counts = _count(table)
        starts = np.concatenate(([0], np.cumsum(counts)))
        with atomic_directory(directory) as temporary:
            np.save(temporary / "keys.npy", keys)
            np.save(temporary / "starts.npy", starts)
            shape = (int(starts[-1]), len(_COLUMNS))
            sorted_rows = np.lib.format.open_memmap(temporary / "rows.npy", "w+", np.float64, shape)
            cursor = starts[:-1].copy()
            for rows in _read(table):
                clip = np.searchsorted(keys, _hashes(rows["clip"].to_numpy(object)))
                order = np.argsort(clip, kind="stable")
                clip = clip[order]
                begins = np.flatnonzero(np.diff(clip, prepend=-1))
                lengths = np.diff(begins, append=len(clip))
                nth = np.arange(len(clip)) - np.repeat(begins, lengths)
                sorted_rows[cursor[clip] + nth] = rows[list(_COLUMNS)].to_numpy(np.float64)[order]
                cursor[clip[begins]] += lengths
            for key, start, end in zip(keys, starts[:-1], starts[1:], strict=True):
                mine = sorted_rows[start:end]
                mine[:] = mine[np.argsort(mine[:, 0], kind="stable")]
                twice = np.flatnonzero(np.diff(mine[:, 0]) == 0)
                if len(twice):
                    raise _two_boxes(table, key, mine[twice[0], 0])
            sorted_rows.flush()


def _count(table: Path) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the clips of a table, sorted, and how many rows each has."""
    parts = [(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))]
    for rows in _read(table):
        parts.append(_summed([_hashes(rows["clip"].to_numpy(object))]))
        # Only now and then, as it goes through all clips so far.
        if sum(len(keys) for keys, _ in parts[1:]) > max(_ROWS, len(parts[0][0])):
            parts = [_summed(*zip(*parts, strict=True))]
    keys, counts = _summed(*zip(*parts, strict=True))
    if len(keys) == 0:
        raise TableError(f"{table}: holds no boxes")
    return keys, counts


def _summed(
    keys: Sequence[NDArray[np.uint64]], counts: Sequence[NDArray[np.int64]] | None = None
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Distinct keys, sorted, and the sum of each one's counts (of 1 each, if there are none)."""
    distinct, places = np.unique(np.concatenate(keys), return_inverse=True)
    weights = None if counts is None else np.concatenate(counts)
    return distinct, np.bincount(places, weights, minlength=len(distinct)).astype(np.int64)


def _hashes(names: NDArray[np.object_]) -> NDArray[np.uint64]:
    return pd.util.hash_array(names)


def _two_boxes(table: Path, key: np.uint64, time_s: float) -> TableError:
    rows: list[tuple[int, str]] = []
    for piece in _read(table):
        then = piece[piece["time_s"] == time_s]
        rows += zip(then.index[_hashes(then["clip"].to_numpy(object)) == key], then["clip"], strict=False)
    (one, clip), (other, _) = rows[:2]
    return TableError(f"{table}: {_counted(table)}s {one} and {other}: clip {clip} has two boxes at time_s {time_s:g}")


def _read(table: Path) -> Iterator[pd.DataFrame]:
    """Checked pieces of a table, whose index is the number of each row: in a CSV, of its line."""
    if not table.is_file():
        raise TableError(f"{table}: no such table (extract.boxes)")
    try:
        for piece in _pieces(table):
            unknown = sorted(set(piece.columns) - {"clip", *_COLUMNS})
            if unknown:
                raise TableError(f"{table}: column {unknown[0]} is unknown; expected clip, {', '.join(_COLUMNS)}")
            checked = tables.check(piece, tables.Boxes, str(table))
            endless = np.flatnonzero(np.isinf(checked["time_s"]))
            if len(endless):
                raise TableError(f"{table}: an infinite time_s (row {checked.index[endless[0]]})")
            yield checked
    except TableError as error:
        raise TableError(str(error).replace("(row ", f"({_counted(table)} ")) from None
    except (OSError, ValueError) as error:
        raise TableError(f"{table}: cannot be read as a table: {' '.join(str(error).split())[:200]}") from None


def _counted(table: Path) -> str:
    return "line" if table.suffix.lower() == ".csv" else "row"


def _pieces(table: Path) -> Iterator[pd.DataFrame]:
    if table.suffix.lower() == ".csv":
        # A clip named 001 or NA stays what it is.
        missing = dict.fromkeys(_COLUMNS, "")
        for piece in pd.read_csv(
            table,
            chunksize=_ROWS,
            dtype={"clip": str},
            keep_default_na=False,
            na_values=missing,
            skip_blank_lines=False,
        ):
            if not isinstance(piece.index, pd.RangeIndex):  # pandas takes what is too much for names of rows
                raise TableError(f"{table}: line 2: more values than columns in line 1")
            piece.index += 2
            yield piece
        return
    row = 0
    for batch in pq.ParquetFile(table).iter_batches(batch_size=_ROWS):
        piece = batch.to_pandas()
        piece.index = pd.RangeIndex(row, row + len(piece))
        row += len(piece)
        yield piece
