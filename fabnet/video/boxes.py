"""Face boxes from a table: read once into a file that gives the boxes of one clip at a time."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet import tables
from fabnet.errors import TableError
from fabnet.files import atomic_directory
from fabnet.video.crop import Box

_COLUMNS = ("time_s", "left", "top", "right", "bottom")
_ROWS = 1 << 16


class BoxTrack:
    """The boxes of one clip.

    Args:
        rows: float64 (N, 5): time_s, left, top, right, bottom, by increasing time.
    """

    def __init__(self, rows: NDArray[np.float64]) -> None:
        self._times = rows[:, 0].tolist()
        self._edges = rows[:, 1:]

    def __len__(self) -> int:
        return len(self._times)

    def at(self, time_s: float, reach_s: float) -> Box | None:
        """The box at a time, linear between its neighbours; beyond the ends the nearest one, as far as `reach_s`."""
        times, edges = self._times, self._edges
        after = bisect_left(times, time_s)
        if after < len(times) and times[after] == time_s:
            return Box(*edges[after].tolist())
        if 0 < after < len(times):
            share = (time_s - times[after - 1]) / (times[after] - times[after - 1])
            return Box(*((1 - share) * edges[after - 1] + share * edges[after]).tolist())
        end = 0 if after == 0 else len(times) - 1
        near = len(times) > 0 and abs(times[end] - time_s) <= reach_s
        return Box(*edges[end].tolist()) if near else None


class BoxFile:
    """The boxes of many clips, grouped by clip in one mapped array. Made by `write`."""

    def __init__(self, directory: Path) -> None:
        self._starts = np.load(directory / "starts.npy", mmap_mode="r")
        self._rows = np.load(directory / "rows.npy", mmap_mode="r")

    def track(self, clip: int) -> BoxTrack:
        """The boxes of clip number `clip` of those that were given to `write`."""
        return BoxTrack(np.array(self._rows[self._starts[clip] : self._starts[clip + 1]]))

    @classmethod
    def write(cls, table: Path, clips: Sequence[str], directory: Path) -> None:
        """Check a table (tables.Boxes; CSV or Parquet) and sort its rows by clip and time, in bounded memory.

        Rows of other clips are checked and left out.

        Raises:
            TableError: the table is missing, illegal, names none of the clips, or has two boxes of a clip at one time.
        """
        number = {name: i for i, name in enumerate(clips)}
        counts = np.zeros(len(clips), dtype=np.int64)
        for rows in _read(table):
            clip = _numbers(rows, number)
            counts += np.bincount(clip[clip >= 0], minlength=len(clips))
        if not counts.any():
            raise TableError(f"{table}: column clip: no row names a clip of extract.videos, such as {clips[0]}")
        starts = np.concatenate(([0], np.cumsum(counts)))
        with atomic_directory(directory) as temporary:
            np.save(temporary / "starts.npy", starts)
            shape = (int(starts[-1]), len(_COLUMNS))
            sorted_rows = np.lib.format.open_memmap(temporary / "rows.npy", "w+", np.float64, shape)
            cursor = starts[:-1].copy()
            for rows in _read(table):
                clip = _numbers(rows, number)
                order = np.argsort(clip, kind="stable")
                order = order[clip[order] >= 0]
                clip, values = clip[order], rows[list(_COLUMNS)].to_numpy(np.float64)[order]
                nth = np.arange(len(clip)) - np.searchsorted(clip, clip)
                sorted_rows[cursor[clip] + nth] = values
                cursor += np.bincount(clip, minlength=len(clips))
            for i, name in enumerate(clips):
                mine = sorted_rows[starts[i] : starts[i + 1]]
                mine[:] = mine[np.argsort(mine[:, 0], kind="stable")]
                twice = np.flatnonzero(np.diff(mine[:, 0]) == 0)
                if len(twice):
                    raise TableError(f"{table}: clip {name} has two boxes at time_s {mine[twice[0], 0]:g}")
            sorted_rows.flush()


def _numbers(rows: pd.DataFrame, number: dict[str, int]) -> NDArray[np.int64]:
    """The number of each row's clip, -1 where it is none of ours."""
    return np.array([number.get(name, -1) for name in rows["clip"]], dtype=np.int64)


def _read(table: Path) -> Iterator[pd.DataFrame]:
    """Checked pieces of a table whose rows are numbered through."""
    if not table.is_file():
        raise TableError(f"{table}: no such table (extract.boxes)")
    try:
        for piece in _pieces(table):
            checked = tables.check(piece, tables.Boxes, str(table))
            finite = np.isfinite(checked[list(_COLUMNS)].to_numpy(np.float64)).all(axis=1)
            if not finite.all():
                raise TableError(f"{table}: row {checked.index[~finite][0]} holds an infinite value")
            yield checked
    except (OSError, ValueError) as error:
        raise TableError(f"{table}: cannot be read as a table: {' '.join(str(error).split())[:200]}") from None


def _pieces(table: Path) -> Iterator[pd.DataFrame]:
    if table.suffix.lower() == ".csv":
        # A clip named 001 or NA stays what it is.
        missing = dict.fromkeys(_COLUMNS, "")
        yield from pd.read_csv(table, chunksize=_ROWS, dtype={"clip": str}, keep_default_na=False, na_values=missing)
        return
    row = 0
    for batch in pq.ParquetFile(table).iter_batches(batch_size=_ROWS):
        piece = batch.to_pandas()
        piece.index = pd.RangeIndex(row, row + len(piece))
        row += len(piece)
        yield piece
