"""What a unit of work leaves behind: a directory of one shard, its index, its rejects and its row of the ledger."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fabnet import contract, tables
from fabnet.files import hash_file
from fabnet.frames.shards import INDEX, INDEX_SCHEMA, TarWriter, member_name, run_starts, shard_name
from fabnet.video.crop import Box
from fabnet.video.faces import Track
from fabnet.video.reject import Rejected
from fabnet.video.spool import Crop

REJECTS, LEDGER = "rejects.parquet", "ledger.parquet"

#: The contracts `fabnet.tables.Rejects` and `fabnet.tables.Ledger` as Arrow writes them.
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in ("clip", "track_id", "reason", "detail")])
LEDGER_SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in ("unit", "clips", "tracks", "frames", "rejected_clips", "rejected_tracks")),
        *((name, pa.int64()) for name in ("boxes_clamped", "bytes")),
        ("sha256", pa.string()),
    ]
)

# Rows wait in a file, so that a unit of long clips fills no memory: `track` is a number in the list of tracks.
_NUMBERS = ("left", "top", "right", "bottom", "sharpness", "brightness")
_ROW = np.dtype(
    [("track", "<i8"), ("frame_no", "<i8"), ("time_s", "<f8"), ("offset", "<i8"), ("size", "<i8")]
    + [(name, "<f8") for name in _NUMBERS]
)
_ROWS_PER_GROUP = 1 << 14


class Mark(NamedTuple):
    """A moment of a part that it can return to."""

    position: int
    rows: int
    tracks: int
    rejects: int
    clamped: int


@contextmanager
def write_part(out: Path) -> Iterator["PartWriter"]:
    """Fill the directory `out`, which exists and is empty. Call `finish` at the end."""
    with open(out / shard_name(0), "wb") as shard, open(out / ".rows", "w+b") as rows:
        yield PartWriter(out, shard, rows)


class PartWriter:
    """Takes the tracks and rejects of one clip after another. See `write_part`."""

    def __init__(self, out: Path, shard: BinaryIO, rows: BinaryIO) -> None:
        self._out, self._shard, self._rows = out, shard, rows
        self._tar = TarWriter(shard)
        self._row_count = 0
        self._tracks: list[tuple[Track, str]] = []
        self._rejects: list[tuple[str, str, str, str]] = []
        self._clamped = 0

    def mark(self) -> Mark:
        return Mark(self._tar.position, self._row_count, len(self._tracks), len(self._rejects), self._clamped)

    def roll_back(self, mark: Mark) -> None:
        """Forget all that was added since `mark`."""
        self._tar.roll_back(mark.position)
        self._rows.seek(mark.rows * _ROW.itemsize)
        self._rows.truncate()
        self._row_count = mark.rows
        del self._tracks[mark.tracks :], self._rejects[mark.rejects :]
        self._clamped = mark.clamped

    def add_track(self, track: Track, clip: str, crops: Iterable[Crop]) -> None:
        """Append the crops of a track of the clip named `clip`, by increasing frame number."""
        number = len(self._tracks)
        self._tracks.append((track, clip))
        for crop in crops:
            offset = self._tar.add(member_name(track.id, crop.frame_no), crop.jpeg)
            box = crop.box
            edges = box.left, box.top, box.right, box.bottom
            place = number, crop.frame_no, crop.time_s, offset, len(crop.jpeg)
            self._rows.write(np.array((*place, *edges, crop.sharpness, crop.brightness), _ROW).tobytes())
            self._row_count += 1

    def add_reject(self, clip: str, track_id: str, rejected: Rejected) -> None:
        """`track_id` is empty where it is the whole clip."""
        self._rejects.append((clip, track_id, rejected.reason, rejected.detail))

    def add_clamped(self, boxes: int) -> None:
        self._clamped += boxes

    def add_part(self, part: Path) -> None:
        """Append all that another part holds."""
        with open(part / shard_name(0), "rb") as shard:
            for table in _tracks(part):
                track = Track(*(table[name][0].as_py() for name in ("track_id", "identity", "video")))
                self.add_track(track, table["clip"][0].as_py(), _crops(table, shard))
        for row in pq.read_table(part / REJECTS, schema=REJECTS_SCHEMA).to_pylist():
            self._rejects.append((row["clip"], row["track_id"], row["reason"], row["detail"]))
        self._clamped += pq.read_table(part / LEDGER, schema=LEDGER_SCHEMA)["boxes_clamped"][0].as_py()

    def finish(self, first: int, clips: int) -> None:
        """Write the tables about clips number `first` to `first` + `clips` - 1. Nothing can be added afterwards.

        Raises:
            TableError: a track was added twice, or its crops were out of order.
        """
        self._tar.close()
        self._shard.close()
        size = self._write_index()
        self._rows.close()
        (self._out / ".rows").unlink()
        rejects = pd.DataFrame(self._rejects, columns=REJECTS_SCHEMA.names, dtype=str)
        write_table(rejects, self._out / REJECTS, tables.Rejects, REJECTS_SCHEMA)
        whole = sum(track_id == "" for _, track_id, _, _ in self._rejects)
        row: dict[str, Any] = {
            "unit": first,
            "clips": clips,
            "tracks": len(self._tracks),
            "frames": self._row_count,
            "rejected_clips": whole,
            "rejected_tracks": len(self._rejects) - whole,
            "boxes_clamped": self._clamped,
            "bytes": size,
            "sha256": hash_file(self._out / shard_name(0)),
        }
        write_table(pd.DataFrame([row]), self._out / LEDGER, tables.Ledger, LEDGER_SCHEMA)

    def _write_index(self) -> int:
        """Write the index and return the sum of its sizes."""
        columns = [
            pa.array([getattr(track, name) for track, _ in self._tracks], pa.string())
            for name in ("id", "identity", "video")
        ]
        strings = dict(zip(("track_id", "identity", "video"), columns, strict=True))
        strings["clip"] = pa.array([clip for _, clip in self._tracks], pa.string())
        total = 0
        self._rows.seek(0)
        with pq.ParquetWriter(self._out / INDEX, contract.mark(INDEX_SCHEMA, tables.Index)) as index:
            while group := self._rows.read(_ROWS_PER_GROUP * _ROW.itemsize):
                rows = np.frombuffer(group, _ROW)
                track = pa.array(rows["track"])
                arrays = {name: values.take(track) for name, values in strings.items()}
                arrays |= {name: pa.array(rows[name]) for name in _ROW.names or () if name != "track"}
                arrays["shard"] = pa.array([shard_name(0)]).take(pa.array(np.zeros(len(rows), np.int64)))
                table = pa.table([arrays[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)
                tables.check(table.to_pandas(), tables.Index, str(self._out / INDEX))
                index.write_table(table)
                total += int(rows["size"].sum())
        return total


def write_table(rows: pd.DataFrame, path: Path, form: type[tables.Table], schema: pa.Schema) -> None:
    """Check a table and write it in one form, with rows or without, in a directory that is not yet in place."""
    tables.check(rows, form, str(path))
    # Without what pandas adds, which differs between its versions.
    marked = contract.mark(schema.remove_metadata(), form)
    pq.write_table(
        pa.Table.from_pandas(rows, schema, preserve_index=False).replace_schema_metadata(marked.metadata), path
    )


def _tracks(part: Path) -> Iterator[pa.Table]:
    """The rows of each track of a part's index."""
    index = pq.read_table(part / INDEX, schema=INDEX_SCHEMA)
    starts = run_starts(index["track_id"])
    for start, end in zip(starts, [*starts[1:], len(index)], strict=True):
        yield index.slice(start, end - start)


def _crops(table: pa.Table, shard: BinaryIO) -> Iterator[Crop]:
    columns = [table[name].to_numpy() for name in ("frame_no", "time_s", "offset", "size", *_NUMBERS)]
    for frame_no, time_s, offset, size, *edges, sharpness, brightness in zip(*columns, strict=True):
        shard.seek(offset)
        box = Box(*(float(edge) for edge in edges))
        yield Crop(int(frame_no), float(time_s), box, float(sharpness), float(brightness), shard.read(size))
