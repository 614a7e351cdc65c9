"""Boxes of a face at some times of a clip: interpolated between them, cut back to the frame, and read from a table."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet import tables
from fabnet.errors import TableError, one_line
from fabnet.files import atomic_directory
from fabnet.video.crop import Box
from fabnet.video.faces import Track
from fabnet.video.reject import Rejected

# A wider box shows next to nothing of its frame: it is in other units than it claims.
_MAX_SIDES = 10

# Frames of another shape than the one the boxes were made in are another cut of the video.
_MAX_STRETCH = 1.02
_COLUMNS = ("time_s", "left", "top", "right", "bottom")
_ROWS = 1 << 16


@dataclass(frozen=True)
class Reference:
    """Size of the frame that boxes are given in; None where it is not known.

    Without a width, pixels are taken to be square; without both, the boxes are in pixels of the clip's own frames. A
    frame of 1 x 1 means fractions.
    """

    width: float | None = None
    height: float | None = None

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """What to multiply x and y with, to have pixels of a frame of this size.

        Args:
            width, height: of the clip's frames, in pixels.

        Raises:
            Rejected: box_outside, where the frame has another shape.
        """
        down = height / self.height if self.height else 1.0
        across = width / self.width if self.width else down
        # Fractions are of a frame of any shape.
        if (self.width or 0) > 1 and not 1 / _MAX_STRETCH <= across / down <= _MAX_STRETCH:
            raise Rejected(
                "box_outside",
                f"its boxes are for a frame of {self.width:g} x {self.height:g}, which has another shape than its own "
                f"{width} x {height}",
            )
        return across, down


@dataclass(frozen=True)
class Place:
    """Where a person finds the first of some boxes: a file below the folder of clips, and a line of it."""

    file: str
    line: int


class BoxTrack:
    """The boxes of one track.

    Args:
        rows: float64 (N, 5), N > 0: time_s, left, top, right, bottom, by increasing time.
        reach_s: how long before its first box, and after its last one, a track begins and ends.
        place: of the first row, where each has a line.
    """

    def __init__(
        self,
        track: Track,
        rows: NDArray[np.float64],
        reach_s: float,
        reference: Reference,
        place: Place | None = None,
    ) -> None:
        self.track, self._reference, self._place = track, reference, place
        self._times = rows[:, 0].tolist()
        self._edges = rows[:, 1:]
        self.start_s, self.end_s = self._times[0] - reach_s, self._times[-1] + reach_s

    def __len__(self) -> int:
        return len(self._times)

    def at(self, time_s: float, width: int, height: int) -> Box | None:
        """The box at a time, in pixels of a frame of this size, within the frame.

        Linear between its neighbours, and the nearest one before the first and after the last; None out of reach.

        Args:
            time_s: seconds after the clip's first frame.
            width, height: of the frame, in pixels.

        Raises:
            Rejected: box_outside, as `count_clamped`.
        """
        if not self.start_s <= time_s <= self.end_s:
            return None
        times, edges = self._times, self._edges
        after = min(max(bisect_left(times, time_s), 1), len(times) - 1)
        before = max(after - 1, 0)
        length = times[after] - times[before]
        share = min(max((time_s - times[before]) / length, 0.0), 1.0) if length else 0.0
        between = (1 - share) * edges[before] + share * edges[after]
        return Box(*self._clamp(between[None], before, width, height)[0].tolist())

    def count_clamped(self, width: int, height: int) -> int:
        """How many of the boxes leave a frame of this size, and are cut back to it.

        Args:
            width, height: of the frame, in pixels.

        Raises:
            Rejected: box_outside, where a box lies wholly outside, or is many times larger than the frame.
        """
        inside = self._clamp(self._edges, 0, width, height)
        moved = np.abs(inside - self._pixels(self._edges, width, height)).max(axis=1)
        # Sums of rounded fractions miss 1 by a last digit of floating point.
        return int((moved > 1e-6 * max(width, height)).sum())

    def _pixels(self, edges: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
        across, down = self._reference.scale(width, height)
        return edges * (across, down, across, down)

    def _clamp(self, edges: NDArray[np.float64], first: int, width: int, height: int) -> NDArray[np.float64]:
        """Boxes (N, 4) from row `first` on, in pixels and within the frame."""
        boxes = self._pixels(edges, width, height)
        outside = (boxes[:, :2] >= (width, height)).any(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
        huge = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) > _MAX_SIDES * max(width, height)
        if (outside | huge).any():
            bad = int(np.flatnonzero(outside | huge)[0])
            where = f"{self._place.file} line {self._place.line + first + bad}: " if self._place else ""
            corners = ", ".join(f"{edge:g}" for edge in edges[bad])
            raise Rejected(
                "box_outside",
                f"{where}({corners}) at {self._times[first + bad]:.2f} s in a frame of {width} x {height}",
            )
        return np.clip(boxes, 0, (width, height, width, height))


def split_at_gaps(
    rows: NDArray[np.float64],
    name: Callable[[int], Track],
    max_gap_s: float,
    reach_s: float,
    reference: Reference,
    place: Place | None = None,
) -> list[BoxTrack]:
    """Tracks, named from 0, out of boxes as BoxTrack takes them: where none came for longer than `max_gap_s`, another
    track begins. Tracks do not reach into each other.

    Args:
        rows: boxes as BoxTrack takes them.
        name: the track of a number, from 0.
        max_gap_s: between two boxes of one track.
        reach_s: see BoxTrack.
        reference: size of the frame that the boxes are given in.
        place: of the first row, where each has a line.
    """
    reach_s = min(reach_s, max_gap_s / 2)
    # Times are frame numbers divided by a rate: a gap of exactly max_gap_s may exceed it by rounding.
    gaps = np.flatnonzero(np.diff(rows[:, 0]) > max_gap_s * (1 + 1e-9)) + 1
    starts = [0, *gaps.tolist(), len(rows)]
    return [
        BoxTrack(
            name(number),
            rows[start:end],
            reach_s,
            reference,
            Place(place.file, place.line + start) if place else None,
        )
        for number, (start, end) in enumerate(pairwise(starts))
    ]


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

        Args:
            table: the file.
            directory: that takes the sorted rows; written atomically.

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
        raise TableError(f"{table}: cannot be read as a table: {one_line(error)}") from None


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
