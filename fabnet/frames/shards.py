"""Track shards on disk: plain tars of JPEGs, and an index that says where each one begins.

A directory of shards holds `tracks-00000.tar` ... with members `<track_id>/<frame_no>.jpg`, the frames of a track
contiguous, and `index.parquet` with a row per frame, ordered by (track_id, frame_no). A track's shard is decided by a
hash of its name, so that an added clip changes few shards. Equal frames give equal bytes; `shards.parquet` says which
bytes those are.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

INDEX = "index.parquet"
SHARDS = "shards.parquet"
RECIPE = "crop.json"

#: `fabnet.tables.Index` as Arrow writes it.
INDEX_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("track_id", "identity", "video", "clip")]
    + [("frame_no", pa.int64()), ("time_s", pa.float64()), ("shard", pa.string())]
    + [(name, pa.int64()) for name in ("offset", "size")]
    + [(name, pa.float64()) for name in ("left", "top", "right", "bottom", "sharpness", "brightness")]
    + [(name, pa.float64()) for name in ("face_px", "cut_off", "presence")]
    + [(name, pa.float64()) for name in ("roll_deg", "pitch_deg", "yaw_deg", "mouth_open", "eyes_open")]
)

#: `fabnet.tables.Shards` as Arrow writes it.
SHARDS_SCHEMA = pa.schema(
    [("shard", pa.string()), ("frames", pa.int64()), ("bytes", pa.int64()), ("sha256", pa.string())]
)

_PLACES = pa.schema([INDEX_SCHEMA.field(name) for name in ("track_id", "offset", "size")])

Position = TypeVar("Position", int, NDArray[np.int64])

_BLOCK = tarfile.BLOCKSIZE
_END_OF_TAR = bytes(2 * _BLOCK)
_ROWS_PER_GROUP = 1 << 16
_COPY_BYTES = 1 << 20


def shard_name(number: int) -> str:
    return f"tracks-{number:05d}.tar"


def shard_number(name: str) -> int:
    return int(name.removeprefix("tracks-").removesuffix(".tar"))


def shard_of(track_id: str, shards: int) -> int:
    """The number of a track's shard among `shards`, a power of two: doubling it splits every shard in two.

    Args:
        track_id: unique in an extraction.
        shards: their number.
    """
    digest = hashlib.sha256(track_id.encode()).digest()
    return int.from_bytes(digest[:8], "little") % shards


def shard_count(total_bytes: int, shard_mb: int) -> int:
    """The smallest power of two that makes shards of at most `shard_mb` (10^6 bytes) on average.

    Args:
        total_bytes: of all crops.
        shard_mb: wanted size of a shard, in 10^6 bytes.
    """
    count = 1
    while total_bytes > count * shard_mb * 1_000_000:
        count *= 2
    return count


class TarWriter:
    """Appends members to a tar whose bytes are a function of names and contents alone."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0

    def add(self, name: str, content: bytes) -> int:
        """Append a member and return the offset of the first byte of its content.

        Args:
            name: of the member.
            content: its bytes.
        """
        member = tarfile.TarInfo(name)
        member.size = len(content)
        header = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
        self._file.write(header + content + bytes(-len(content) % _BLOCK))
        offset = self.position + len(header)
        self.position = _padded(offset + len(content))
        return offset

    def roll_back(self, position: int) -> None:
        """Forget the members from `position` on."""
        self._file.seek(position)
        self._file.truncate()
        self.position = position

    def close(self) -> None:
        self._file.write(_END_OF_TAR)


def member_name(track_id: str, frame_no: int) -> str:
    """The name of a crop in its shard.

    Args:
        track_id: of the crop's track.
        frame_no: number of the crop within its video.
    """
    return f"{track_id}/{frame_no:07d}.jpg"


def merge(
    parts: Sequence[Path], out: Path, shard_mb: int, advance: Callable[[int], object] = lambda frames: None
) -> None:
    """Join directories of one shard each into the directory `out`, which must exist and be empty.

    Tracks are copied one after another as they lie in the parts, headers included, and index rows are written in
    groups, so that memory grows with the number of tracks only, and by little.

    Args:
        parts: their indices list the frames in the order of their tar, without gaps.
        out: directory of the joined shards.
        shard_mb: see `shard_count`.
        advance: called with the number of frames of every track copied.
    """
    from fabnet import contract, tables  # pandera, which a machine that only reads frames need not have

    tracks = _Tracks.of(parts)
    count = shard_count(int((tracks.end - tracks.begin).sum()), shard_mb)
    shards = [_Shard(out / shard_name(number)) for number in range(count)]
    # Tracks go by name, parts by clip: names mostly follow the clips, so that a few indices in memory are enough.
    index_of = lru_cache(maxsize=4)(lambda part: _read_index(parts[part], INDEX_SCHEMA))
    group: list[pa.Table] = []
    grouped = 0
    with pq.ParquetWriter(out / INDEX, contract.mark(INDEX_SCHEMA, tables.Index)) as index:
        for track in tracks.order:
            part, begin, rows = int(tracks.part[track]), int(tracks.begin[track]), int(tracks.rows[track])
            table = index_of(part).slice(int(tracks.first[track]), rows)
            number = shard_of(table["track_id"][0].as_py(), count)
            group.append(_moved(table, number, shards[number].bytes - begin))
            shards[number].append(_blocks(parts[part] / shard_name(0), begin, int(tracks.end[track])))
            shards[number].frames += rows
            grouped += rows
            if grouped >= _ROWS_PER_GROUP:
                index.write_table(pa.concat_tables(group).combine_chunks())
                group, grouped = [], 0
            advance(rows)
        if group:
            index.write_table(pa.concat_tables(group).combine_chunks())
    for shard in shards:
        shard.append([_END_OF_TAR])
    written = pa.Table.from_pylist([shard.row() for shard in shards], contract.mark(SHARDS_SCHEMA, tables.Shards))
    tables.check(written.to_pandas(), tables.Shards, str(out / SHARDS))
    pq.write_table(written, out / SHARDS)


class _Shard:
    """A shard that grows at its end, and what is known of it by then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self.frames = self.bytes = 0

    def append(self, blocks: Iterable[bytes]) -> None:
        # Opened every time, since there may be more shards than a process may hold open.
        with open(self._path, "ab") as file:
            for block in blocks:
                file.write(block)
                self._digest.update(block)
                self.bytes += len(block)

    def row(self) -> dict[str, str | int]:
        """Its row of shards.parquet."""
        name, digest = self._path.name, self._digest.hexdigest()
        return {"shard": name, "frames": self.frames, "bytes": self.bytes, "sha256": digest}


@dataclass(frozen=True)
class _Tracks:
    """Where the tracks of some parts lie: part, first row and rows of its index, bytes of its tar; arrays (T,)."""

    part: NDArray[np.int64]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    order: NDArray[np.int64]  # of their names

    @classmethod
    def of(cls, parts: Sequence[Path]) -> "_Tracks":
        columns: list[tuple[NDArray[np.int64], ...]] = []
        names = []
        for number, part in enumerate(parts):
            table = _read_index(part, _PLACES)
            first = run_starts(table["track_id"])
            rows = np.diff(first, append=len(table))
            # A track ends where its last member does, and the next one's header begins there.
            ends = _padded(table["offset"].to_numpy() + table["size"].to_numpy())
            end = ends[first + rows - 1]
            begin = np.concatenate(([0], end[:-1])) if len(end) else end
            columns.append((np.full(len(first), number), first, rows, begin, end))
            names.append(table["track_id"].take(pa.array(first)).combine_chunks())
        track_id = pa.chunked_array(names, pa.string())
        if pc.count_distinct(track_id).as_py() != len(track_id):
            raise ValueError("a track lies in several parts")
        order = pc.sort_indices(track_id).to_numpy().astype(np.int64)
        part_no, first, rows, begin, end = (np.concatenate(column) for column in zip(*columns, strict=True))
        return cls(part_no, first, rows, begin, end, order)


def run_starts(values: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
    """Numbers of the rows whose value differs from the row before; the first row is one."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    changed = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1))
    return np.concatenate(([0], np.flatnonzero(changed.to_numpy(zero_copy_only=False)) + 1)).astype(np.int64)


def _read_index(part: Path, schema: pa.Schema) -> pa.Table:
    """Some columns of the index of a part, whichever of Arrow's string types it was written with."""
    return pq.read_table(part / INDEX, columns=schema.names).cast(schema)


def _moved(table: pa.Table, shard: int, shift: int) -> pa.Table:
    """The index rows of a track that lies `shift` bytes further on in another shard."""
    names = pa.array([shard_name(shard)] * len(table), pa.string())
    table = table.set_column(table.schema.get_field_index("shard"), "shard", names)
    offsets = pc.add(table["offset"], shift)
    return table.set_column(table.schema.get_field_index("offset"), "offset", offsets)


def _blocks(source: Path, begin: int, end: int) -> Iterator[bytes]:
    """Bytes `begin` to `end` of a file."""
    with open(source, "rb") as reader:
        reader.seek(begin)
        while begin < end:
            block = reader.read(min(_COPY_BYTES, end - begin))
            if not block:
                raise OSError(f"{source}: ends before byte {end}")
            begin += len(block)
            yield block


def _padded(position: Position) -> Position:
    """The next multiple of a tar's block."""
    return position + -position % _BLOCK
