"""The unit of work of an extraction: a group of clips becomes a directory of one shard, index, rejects and ledger."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fabnet import contract, tables
from fabnet.config import ExtractParams
from fabnet.files import atomic_directory
from fabnet.frames.shards import INDEX, INDEX_SCHEMA, TarWriter, member_name, run_starts, shard_name
from fabnet.processes import time_limit
from fabnet.video.blazeface import roll_in
from fabnet.video.clips import Clip, ClipList
from fabnet.video.crop import Box, crop, encode, recrop, turned_crop
from fabnet.video.crop_quality import QUALITIES, Quality, of_face, of_pixels
from fabnet.video.faces import Face, Tally, Track, TrackEnd
from fabnet.video.frame_buffer import Crop, TrackBuffer
from fabnet.video.reject import Rejected
from fabnet.video.sources.open import open_source

REJECTS, LEDGER = "rejects.parquet", "ledger.parquet"

#: The contracts `fabnet.tables.Rejects` and `fabnet.tables.Ledger` as Arrow writes them.
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in ("clip", "track_id", "reason", "detail")])
LEDGER_SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in ("unit", "clips", "tracks", "frames", "rejected_clips", "rejected_tracks")),
        *(
            (name, pa.int64())
            for name in ("boxes_clamped", "samples_damaged", "files_ignored", "clips_crowded", "clips_swapped", "bytes")
        ),
    ]
)

# Rows wait in a file, so that a unit of long clips fills no memory: `track` is a number in the list of tracks.
_NUMBERS = ("left", "top", "right", "bottom", *QUALITIES)
_ROW = np.dtype(
    [("track", "<i8"), ("frame_no", "<i8"), ("time_s", "<f8"), ("offset", "<i8"), ("size", "<i8")]
    + [(name, "<f8") for name in _NUMBERS]
)
_ROWS_PER_GROUP = 1 << 14

#: The list of clips, in the directory of an extraction's state.
CLIPS = "clips.arrow"

# Beyond the limit of a clip, which is kept between its frames: a process that is still at it hangs within one of them.
_LIMIT_SHARE, _LIMIT_SLACK_S = 1.1, 30


class Mark(NamedTuple):
    """A moment of a part that it can return to."""

    position: int
    rows: int
    tracks: int
    rejects: int
    clamped: int
    damaged: int
    crowded: int
    swapped: int


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
        self._clamped = self._damaged = self._crowded = self._swapped = 0

    def mark(self) -> Mark:
        counts = self._clamped, self._damaged, self._crowded, self._swapped
        return Mark(self._tar.position, self._row_count, len(self._tracks), len(self._rejects), *counts)

    def roll_back(self, mark: Mark) -> None:
        """Forget all that was added since `mark`."""
        self._tar.roll_back(mark.position)
        self._rows.seek(mark.rows * _ROW.itemsize)
        self._rows.truncate()
        self._row_count = mark.rows
        del self._tracks[mark.tracks :], self._rejects[mark.rejects :]
        self._clamped, self._damaged = mark.clamped, mark.damaged
        self._crowded, self._swapped = mark.crowded, mark.swapped

    def add_track(self, track: Track, clip: str, crops: Iterable[Crop]) -> None:
        """Append the crops of a track of the clip named `clip`, by increasing frame number.

        Args:
            track: of the crops.
            clip: its name.
            crops: by increasing number.
        """
        number = len(self._tracks)
        self._tracks.append((track, clip))
        for item in crops:
            offset = self._tar.add(member_name(track.id, item.frame_no), item.jpeg)
            box = item.box
            edges = box.left, box.top, box.right, box.bottom
            place = number, item.frame_no, item.time_s, offset, len(item.jpeg)
            self._rows.write(np.array((*place, *edges, *item.quality.row()), _ROW).tobytes())
            self._row_count += 1

    def add_reject(self, clip: str, track_id: str, rejected: Rejected) -> None:
        """Note what gave no crops.

        Args:
            clip: its name.
            track_id: of the track; empty where it is the whole clip.
            rejected: why.
        """
        self._rejects.append((clip, track_id, rejected.reason, rejected.detail))

    def add_clamped(self, boxes: int) -> None:
        self._clamped += boxes

    def add_damaged(self, samples: int) -> None:
        self._damaged += samples

    def add_crowded(self) -> None:
        """A clip shows several faces of one identity at once."""
        self._crowded += 1

    def add_swapped(self) -> None:
        """In a clip another face comes in the place of one, under the same identity."""
        self._swapped += 1

    def add_part(self, part: Path) -> None:
        """Append all that another part holds."""
        with open(part / shard_name(0), "rb") as shard:
            for table in _tracks(part):
                track = Track(*(table[name][0].as_py() for name in ("track_id", "identity", "video")))
                self.add_track(track, table["clip"][0].as_py(), _crops(table, shard))
        for row in pq.read_table(part / REJECTS, schema=REJECTS_SCHEMA).to_pylist():
            self._rejects.append((row["clip"], row["track_id"], row["reason"], row["detail"]))
        (ledger,) = pq.read_table(part / LEDGER, schema=LEDGER_SCHEMA).to_pylist()
        self._clamped += ledger["boxes_clamped"]
        self._damaged += ledger["samples_damaged"]
        self._crowded += ledger["clips_crowded"]
        self._swapped += ledger["clips_swapped"]

    def finish(self, first: int, clips: int) -> None:
        """Write the tables about the clips that were added. Nothing can be added afterwards.

        Args:
            first: number of the first clip among all.
            clips: how many were worked on, those without crops among them.

        Raises:
            TableError: a track was added twice, or its crops were out of order.
        """
        self._tar.close()
        self._shard.close()
        size = self._write_index()
        self._rows.close()
        (self._out / ".rows").unlink()
        rejects = pd.DataFrame(self._rejects, columns=REJECTS_SCHEMA.names, dtype=str)
        # They are checked when all parts are joined; for each of many small parts it would cost more than its crops.
        _write_rows(rejects, self._out / REJECTS, tables.Rejects, REJECTS_SCHEMA)
        whole = sum(track_id == "" for _, track_id, _, _ in self._rejects)
        row: dict[str, Any] = {
            "unit": first,
            "clips": clips,
            "tracks": len(self._tracks),
            "frames": self._row_count,
            "rejected_clips": whole,
            "rejected_tracks": len(self._rejects) - whole,
            "boxes_clamped": self._clamped,
            "samples_damaged": self._damaged,
            "files_ignored": 0,  # the whole extraction knows
            "clips_crowded": self._crowded,
            "clips_swapped": self._swapped,
            "bytes": size,
        }
        _write_rows(pd.DataFrame([row]), self._out / LEDGER, tables.Ledger, LEDGER_SCHEMA)

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
                arrays |= {name: pa.array(rows[name], from_pandas=True) for name in _ROW.names or () if name != "track"}
                arrays["shard"] = pa.array([shard_name(0)]).take(pa.array(np.zeros(len(rows), np.int64)))
                table = pa.table([arrays[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)
                tables.check(table.to_pandas(), tables.Index, str(self._out / INDEX))
                index.write_table(table)
                total += int(rows["size"].sum())
        return total


def write_table(rows: pd.DataFrame, path: Path, form: type[tables.Table], schema: pa.Schema) -> None:
    """Check a table and write it in one form, with rows or without, in a directory that is not yet in place.

    Args:
        rows: of the table.
        path: of the file.
        form: its contract.
        schema: its columns as Arrow writes them.
    """
    tables.check(rows, form, str(path))
    _write_rows(rows, path, form, schema)


def _write_rows(rows: pd.DataFrame, path: Path, form: type[tables.Table], schema: pa.Schema) -> None:
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
    for frame_no, time_s, offset, size, *numbers in zip(*columns, strict=True):
        shard.seek(offset)
        box = Box(*(float(edge) for edge in numbers[:4]))
        yield Crop(int(frame_no), float(time_s), box, Quality.of_row(numbers[4:]), shard.read(size))


@dataclass(frozen=True)
class Unit:
    """`count` clips from number `first` on, of those that are listed in the directory `state`."""

    params: ExtractParams
    state: Path
    first: int
    count: int

    @property
    def out(self) -> Path:
        """Directory of its results."""
        return self.state / f"unit-{self.first:08d}-{self.count}"

    def clips(self) -> list[Clip]:
        return ClipList(self.state / CLIPS).slice(self.first, self.count)


def run_unit(unit: Unit) -> None:
    """Extract the clips of a unit. `unit.out` is written atomically; where it exists nothing is done."""
    if unit.out.is_dir():
        return
    cv2.setNumThreads(0)
    source = open_source(unit.params, unit.state)
    limit = _LIMIT_SHARE * unit.params.clip_limit_s + _LIMIT_SLACK_S
    with atomic_directory(unit.out) as out, write_part(out) as part:
        for clip in unit.clips():
            begin = part.mark()
            try:
                tally = Tally()
                with time_limit(limit):
                    _extract(clip, source.find(clip)(source.frames(clip, tally)), unit.params, part, out)
                part.add_damaged(tally.damaged)
            except Rejected as rejected:
                # Damage is known only after the frames before it: what they gave is taken back.
                part.roll_back(begin)
                part.add_reject(clip.name, "", rejected)
            except Exception as error:
                # Not the clip's fault but ours: the run ends, and says at which clip.
                error.add_note(f"in clip {clip.name}")
                raise
        part.finish(unit.first, unit.count)


def _extract(
    clip: Clip, faces: Iterator[Face | TrackEnd], params: ExtractParams, part: PartWriter, folder: Path
) -> None:
    """Append the tracks of a clip to `part`; the caller takes them back if the clip is rejected."""
    live: dict[str, TrackBuffer] = {}
    ended = set[str]()
    kept: list[tuple[str, float, float]] = []  # identity, first and last time of each track
    replaced: list[tuple[str, float]] = []  # identity and last time of those of them whose place another face took

    def end(track: Track, rejected: Rejected | None, by_other: bool = False) -> None:
        ended.add(track.id)
        known = live.pop(track.id, None)
        with TrackBuffer(track, folder) if known is None else known as buffer:
            rejected = rejected or judge(buffer, params)
            if rejected is None:
                part.add_track(track, clip.name, buffer)
                kept.append((track.identity, buffer[0].time_s, buffer[len(buffer) - 1].time_s))
                replaced.extend([(track.identity, kept[-1][2])] * by_other)
            else:
                part.add_reject(clip.name, track.id, rejected)

    try:
        for item in faces:
            track = item.track
            if track.id in ended:
                raise ValueError(f"track {track.id} goes on after its end")
            if isinstance(item, TrackEnd):
                part.add_clamped(item.clamped)
                end(track, item.rejected, item.replaced)
                continue
            if track.id not in live:
                live[track.id] = TrackBuffer(track, folder)
            live[track.id].add(crop_of(item, params, measured=True), item.box.right - item.box.left)
        for buffer in list(live.values()):
            end(buffer.track, None)
    finally:
        for buffer in live.values():
            buffer.close()
    if not ended:
        raise _too_short(0, params)
    if _overlap(kept):
        part.add_crowded()
    # The other face counts only where it gave crops, too.
    if any(one == other and begin > end for one, end in replaced for other, begin, _ in kept):
        part.add_swapped()


def _overlap(spans: Iterable[tuple[str, float, float]]) -> bool:
    """Whether two tracks (identity, first and last time) of one identity are on display at once."""
    return any(one[0] == other[0] and other[1] <= one[2] for one, other in pairwise(sorted(spans)))


def crop_of(face: Face, params: ExtractParams, measured: bool = False) -> Crop:
    """The crop of a face under the recipe of `params`; its box is the part of the frame that it shows.

    Args:
        face: in its frame.
        params: image_size, jpeg_quality, crop and recrop.
        measured: whether its quality is all that an index holds, and not only sharpness and brightness.

    Raises:
        UserError: a network's file is missing, cut short or another one.
    """
    box, roll = face.box, 0.0
    if params.recrop == "authors":
        image, box = recrop(face.image, box, params.image_size)
    elif params.crop == "aligned":
        roll = roll_in(face.image, box) or 0.0
        image = turned_crop(face.image, box, params.image_size, roll)
    else:
        image = crop(face.image, box, params.image_size)
    quality = of_face(face, image, params, roll) if measured else of_pixels(image)
    return Crop(face.number, face.time_s, box, quality, encode(image, params.jpeg_quality))


def judge(buffer: TrackBuffer, params: ExtractParams) -> Rejected | None:
    """Why the track in a buffer is of no use, None if it is.

    Args:
        buffer: the crops of a track.
        params: what a track has to have.
    """
    if len(buffer) < params.min_frames:
        return _too_short(len(buffer), params)
    side, sharpness = buffer.median_side(), buffer.median_sharpness()
    if side < params.tracking.min_side:
        return Rejected("too_small", f"the median side of its box is {side:g} pixels, of {params.tracking.min_side}")
    if sharpness < params.tracking.min_sharpness:
        return Rejected("too_blurred", f"its median sharpness is {sharpness:.3g}, of {params.tracking.min_sharpness:g}")
    return None


def _too_short(frames: int, params: ExtractParams) -> Rejected:
    return Rejected("too_short", f"{frames} frames with a face at {params.fps:g} fps, of {params.min_frames}")
