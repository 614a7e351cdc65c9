"""Time and memory of an index of ten million crops: written, read by FrameStore, and merged from the parts of units.

Rows are synthetic, tracks of 8 crops as VoxCeleb2 gives at 1 frame per second. Every step runs in a process of its
own; its memory is the peak of that process beyond what its imports take. The merge also copies the crops, which here
are zeros, of a tenth of the rows. Run with `make bench`, or give the number of rows.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks._memory import peak_mb
from fabnet.files import write_json
from fabnet.frames.shards import INDEX, INDEX_SCHEMA, RECIPE, merge, shard_name
from fabnet.frames.split import identities_of
from fabnet.frames.store import FrameStore

ROWS, CROPS, TRACKS_PER_PERSON, PARTS = 10_000_000, 8, 200, 100
# A member of a tar is its header and its content, in blocks of 512 bytes.
BLOCK, JPEG_BYTES = 512, 3000
MEMBER_BYTES = BLOCK + -(-JPEG_BYTES // BLOCK) * BLOCK
ROWS_PER_GROUP = 1 << 16


class Cost(NamedTuple):
    seconds: float
    peak_mb: float


def write_index(folder: Path, rows: int, first: int = 0) -> None:
    """The index of the crops number `first` to `first` + `rows` - 1, as wide as a real one, with no object per row."""
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / INDEX, INDEX_SCHEMA) as index:
        for begin in range(first, first + rows, ROWS_PER_GROUP):
            index.write_table(_table(np.arange(begin, min(begin + ROWS_PER_GROUP, first + rows)), first))
    write_json(folder / RECIPE, {"size": 64})


def _table(row: NDArray[np.int64], first: int) -> pa.Table:
    track = row // CROPS
    person, video = _names("id", track // TRACKS_PER_PERSON), _names("video", track)
    numbers = INDEX_SCHEMA.names[INDEX_SCHEMA.names.index("left") :]
    columns = {
        "track_id": pc.binary_join_element_wise(person, video, "00001/0", "/"),
        "identity": person,
        "video": video,
        "clip": pc.binary_join_element_wise(person, video, "00001.mp4", "/"),
        "frame_no": pa.array(row % CROPS),
        "time_s": pa.array((row % CROPS).astype(np.float64)),
        "shard": pa.array([shard_name(0)]).take(pa.array(row * 0)),
        "offset": pa.array((row - first) * MEMBER_BYTES + BLOCK),
        "size": pa.array(np.full(len(row), JPEG_BYTES)),
        **{name: pa.array((row % 97 + 100 * n).astype(np.float64)) for n, name in enumerate(numbers)},
    }
    return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)


def _names(prefix: str, numbers: NDArray[np.int64]) -> pa.Array:
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 7, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def write_parts(folder: Path, rows: int) -> None:
    """As many parts as PARTS, with indices and with tars that hold nothing but zeros."""
    share = rows // PARTS // CROPS * CROPS
    for number in range(PARTS):
        part = folder / f"{number:04d}"
        write_index(part, share, number * share)
        with open(part / shard_name(0), "wb") as tar:
            tar.truncate(share * MEMBER_BYTES)


def read_index(folder: Path, rows: int) -> None:
    """Open a store, choose the tracks of a tenth of the people and look up rows all over it."""
    store = FrameStore(folder)
    assert store.frame_count == rows
    assert len(store.tracks) == -(-rows // CROPS)
    people = identities_of(folder)
    assert len(store.select(people[::10])) >= len(store.tracks) // 11
    assert store.tracks.start[-1] + store.tracks.length[-1] == rows


def merge_parts(folder: Path, rows: int) -> None:
    out = folder / "out"
    out.mkdir()
    merge(sorted(folder.glob("[0-9]*")), out, 256)
    assert pq.read_metadata(out / INDEX).num_rows == rows // PARTS // CROPS * CROPS * PARTS


def cost(step: Callable[..., None], *arguments: Any) -> Cost:
    """Of a step in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, step, arguments))
    process.start()
    theirs.close()
    try:
        return Cost(*ours.recv())
    finally:
        process.join()


def _measure(connection: Any, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    before = peak_mb()
    started = time.perf_counter()
    step(*arguments)
    seconds = time.perf_counter() - started
    connection.send((seconds, peak_mb() - before))


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = [("write", cost(write_index, folder / "whole", rows), rows)]
        size = (folder / "whole" / INDEX).stat().st_size
        steps.append(("read", cost(read_index, folder / "whole", rows), rows))
        write_parts(folder / "parts", rows // 10)
        steps.append(("merge", cost(merge_parts, folder / "parts", rows // 10), rows // 10))
    print(f"{rows:,} rows, {-(-rows // CROPS):,} tracks, index.parquet {size / 1e6:.0f} MB")
    print("step         rows   seconds     rows/s   peak MB   bytes/row")
    for title, spent, count in steps:
        rate, per_row = count / spent.seconds, spent.peak_mb * 2**20 / count
        print(f"{title:<7}{count:>10,}{spent.seconds:>10.1f}{rate:>11,.0f}{spent.peak_mb:>10.0f}{per_row:>12.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
