"""Contracts of an index of ten million rows, and the health of a million frames: time and memory, in one run.

Every measurement is a process of its own. The machine may be shared, so processor time is told as well as time. The
index is written as `extract` writes it, in groups of 65,536 rows; the health stage runs on real shards of JPEGs. Run
with `make bench`.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
import yaml

from fabnet import tables
from fabnet.config import ExtractParams, HealthParams, SplitParams
from fabnet.files import hash_file, write_json
from fabnet.frames.shards import INDEX, INDEX_SCHEMA, SHARDS, TarWriter, member_name, shard_name
from fabnet.frames.split import split_identities
from fabnet.quality.health import judge_frames
from fabnet.quality.streaming import check_file
from fabnet.video.recipe import recipe
from fabnet.video.unit import LEDGER, REJECTS

ROWS, HEALTH_ROWS = 10_000_000, 1_000_000
LENGTH, TRACKS_OF_ONE, SIZE = 50, 5, 64
LIMITS = Path(__file__).parents[1] / "tests/data/limits.yaml"
_GROUP = 1 << 16


def numeric() -> list[str]:
    columns = tables.Index.to_schema().columns
    return [name for name, column in columns.items() if str(column.dtype) in ("int64", "float64")]


def names(track: np.ndarray) -> dict[str, pa.Array]:
    identity = track // TRACKS_OF_ONE
    people = pd.Series(identity).map("id{:06d}".format)
    video = pd.Series(track % TRACKS_OF_ONE).map("video{}".format)
    stem = people + "/" + video
    columns = {"track_id": stem + "/c/0", "identity": people, "video": video, "clip": stem + "/c.mp4"}
    return {name: pa.array(column, pa.string()) for name, column in columns.items()}


def numbers(row: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    frame = row % LENGTH
    left, top = rng.uniform(0, 400, (2, len(row)))
    side = rng.uniform(60, 300, len(row))
    return {
        "frame_no": frame,
        "time_s": frame.astype(float),
        "offset": 3072 * row + 512,
        "size": rng.integers(1500, 2500, len(row)),
        "left": left,
        "top": top,
        "right": left + side,
        "bottom": top + side,
        "sharpness": rng.lognormal(6, 0.5, len(row)),
        "brightness": rng.uniform(40, 200, len(row)),
        "face_px": side,
        "cut_off": rng.uniform(0, 0.1, len(row)),
        "presence": np.ones(len(row)),
        **{f"{name}_deg": rng.normal(0, 10, len(row)) for name in ("roll", "pitch", "yaw")},
        "mouth_open": rng.uniform(0, 0.5, len(row)),
        "eyes_open": rng.uniform(0.2, 0.4, len(row)),
    }


def write_index(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, INDEX_SCHEMA) as file:
        for begin in range(0, rows, _GROUP):
            row = np.arange(begin, min(begin + _GROUP, rows))
            shard = pa.array([shard_name(0)] * len(row))
            columns = {**names(row // LENGTH), **numbers(row, rng), "shard": shard}
            file.write_table(pa.table({name: columns[name] for name in INDEX_SCHEMA.names}, INDEX_SCHEMA))


def write_frames(root: Path, rows: int) -> None:
    """Shards of one picture per track, with an index that tells the truth of it, and all tables beside."""
    frames = root / "frames"
    frames.mkdir()
    rng = np.random.default_rng(1)
    people, total = [], 0
    with open(frames / shard_name(0), "wb") as file, pq.ParquetWriter(frames / INDEX, INDEX_SCHEMA) as index:
        tar = TarWriter(file)
        for begin in range(0, rows, 1000 * LENGTH):
            row = np.arange(begin, min(begin + 1000 * LENGTH, rows))
            columns = {**names(row // LENGTH), **numbers(row, rng), "shard": pa.array([shard_name(0)] * len(row))}
            track_id = columns["track_id"].to_pylist()
            for first in range(0, len(row), LENGTH):
                coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                picture = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
                jpeg = simplejpeg.encode_jpeg(picture, 90)
                grey = simplejpeg.decode_jpeg(jpeg, "GRAY")[:, :, 0]
                track = slice(first, first + LENGTH)
                columns["size"][track] = len(jpeg)
                columns["brightness"][track] = grey.mean()
                columns["sharpness"][track] = cv2.Laplacian(grey, cv2.CV_64F).var()
                for number in range(first, first + LENGTH):
                    columns["offset"][number] = tar.add(member_name(track_id[number], number % LENGTH), jpeg)
            total += int(columns["size"].sum())
            people += columns["identity"].unique().to_pylist()
            index.write_table(pa.table({name: columns[name] for name in INDEX_SCHEMA.names}, INDEX_SCHEMA))
        tar.close()
    shard = frames / shard_name(0)
    one = {"shard": shard.name, "frames": rows, "bytes": shard.stat().st_size, "sha256": hash_file(shard)}
    tables.write(pd.DataFrame([one]), frames / SHARDS, tables.Shards)
    tracks = rows // LENGTH
    counts = {"unit": 0, "clips": tracks, "tracks": tracks, "frames": rows, "rejected_clips": 0, "rejected_tracks": 0}
    left_out = {"boxes_clamped": 0, "samples_damaged": 0, "files_ignored": 0, "clips_crowded": 0}
    ledger = pd.DataFrame([{**counts, **left_out, "bytes": total}])
    tables.write(ledger, frames / LEDGER, tables.Ledger)
    tables.write(tables.Rejects.empty_frame(), frames / REJECTS, tables.Rejects)
    write_json(frames / "crop.json", recipe(ExtractParams.standalone(videos=Path("videos"), image_size=SIZE)))
    splits = split_identities(people, {"train": 75, "validation": 15, "test": 10}, 0)
    table = pd.DataFrame({"identity": splits.keys(), "split": splits.values()})
    tables.write(table, root / "splits.parquet", tables.Splits)


def check(root: Path, columns: list[str] | None) -> int:
    checked = check_file(root / INDEX, tables.Index, columns)
    assert checked.findings == (), checked.findings
    return checked.rows


def health(root: Path) -> int:
    limits = HealthParams.model_validate(yaml.safe_load(LIMITS.read_text())["health"])
    verdict = judge_frames(
        root / "frames", root / "splits.parquet", SplitParams(seed=0, train=75, validation=15, test=10), limits
    )
    assert verdict.broken is None, verdict.broken
    verdict.write(root / "report", "frames")
    return int(verdict.counts["index"]["rows"])


PARTS: dict[str, Callable[[Path], int]] = {
    "numeric rules": lambda root: check(root, numeric()),
    "all rules": lambda root: check(root, None),
    "health stage": health,
}


class PeakMemory:
    """The most memory of its own that this process holds at a time; pages of mapped shards are the system's cache."""

    gigabytes = 0.0

    def __enter__(self) -> "PeakMemory":
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            own = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
            self.gigabytes = max(self.gigabytes, int(own[1]) / 1e6) if own else float("nan")


def measure(part: str, root: Path) -> None:
    with PeakMemory() as memory:
        started, used = time.perf_counter(), time.process_time()
        rows = PARTS[part](root)
        seconds, used = time.perf_counter() - started, time.process_time() - used
    print(
        f"{part:16}{rows:12,}{seconds:10.1f}{used:10.1f}{rows / seconds / 1e6:12.2f}{rows / used / 1e6:12.2f}"
        f"{memory.gigabytes:10.2f}",
        flush=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_index(root / INDEX, ROWS)
        write_frames(root, HEALTH_ROWS)
        heads = ("rows", 12), ("seconds", 10), ("CPU s", 10), ("Mrows/s", 12), ("Mrows/CPU s", 12), ("peak GB", 10)
        print(" " * 16 + "".join(f"{head:>{width}}" for head, width in heads), flush=True)
        for part in PARTS:
            subprocess.run([sys.executable, __file__, part, str(root)], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
