"""Time and memory of writing an hour of one face, at 25 samples per second, in each format of `fabnet convert`.

The table is random: embeddings of 256 numbers, and what random probes of every task read from them. Each format is
written in a process of its own. `make bench`, or, with a record in docs/benchmarks:

    python -m benchmarks.convert --out docs/benchmarks/2026-11-28-convert.md
"""

import argparse
import multiprocessing
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa

from benchmarks._memory import peak_mb
from fabnet.inference.convert import convert
from fabnet.inference.formats.open import Format
from fabnet.inference.formats.table import ROWS, open_plain_parquet
from fabnet.probing import readings
from fabnet.probing.readings import OUTPUTS, LinearHead, SavedHeads
from fabnet.tracking.verify.verify import processor as this_processor

HOUR, FPS, DIMENSION = 90_000, 25, 256
_LOSSES = {"units": "bce", "expression": "cross_entropy"}


def write_table(path: Path, rows: int) -> None:
    """A table as `fabnet embed` writes it."""
    random = np.random.default_rng(0)
    heads = SavedHeads(
        tuple(
            LinearHead(
                task,
                _LOSSES.get(task, "mse"),
                names,
                random.normal(0, 1 / 16, (len(names), DIMENSION)).astype(np.float32),
                np.zeros(len(names), np.float32),
            )
            for task, names in OUTPUTS.items()
        ),
        {},
    )
    edges = ("left", "top", "right", "bottom")
    columns = pa.schema(
        [
            *(("input", pa.string()), ("track", pa.int32()), ("frame", pa.int64()), ("time_s", pa.float64())),
            *((edge, pa.float64()) for edge in edges),
            *(("embedding", pa.list_(pa.float32(), DIMENSION)), ("recipe", pa.string())),
            *readings.fields(heads),
        ]
    )
    with open_plain_parquet(path, columns) as file:
        for start in range(0, rows, ROWS):
            count = min(ROWS, rows - start)
            embeddings = random.normal(size=(count, DIMENSION)).astype(np.float32)
            boxes = np.tile((420.0, 90.0, 860.0, 530.0), (count, 1))
            frames = np.arange(start, start + count)
            arrays = [pa.array(["talk.mp4"] * count), pa.array(np.zeros(count, np.int32)), pa.array(frames)]
            arrays += [pa.array(frames / FPS), *map(pa.array, boxes.T)]
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), DIMENSION))
            arrays += [pa.array(["recipe"] * count), *readings.columns(heads, embeddings, boxes)]
            file.add(pa.Table.from_arrays(arrays, schema=columns))


def measure(table: Path, out: Path, format: Format) -> tuple[float, float, float, float]:
    """Wall and processor seconds, MB of memory beyond the imports, and MB of the file."""
    before, wall, processor = peak_mb(), time.perf_counter(), time.process_time()
    convert(table, out, format)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return wall, processor, peak_mb() - before, out.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="the record to write")
    arguments = parser.parse_args()
    lines = [
        f"# Writing an hour of embeddings in other formats, {date.today():%-d %B %Y}",
        "",
        f"`python -m benchmarks.convert`, one run on {this_processor()}: {HOUR:,} rows of one face with the readings "
        "of all probes, from Parquet,",
        "one process and one thread. Memory is the peak beyond that of the imports, here and for a tenth of the rows.",
        "",
        "| format | wall s | processor s | rows/s of processor | MB of memory | for a tenth | MB of the file |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        tables = []
        for rows in (HOUR, HOUR // 10):
            tables.append(Path(folder, f"{rows}.parquet"))
            pool.apply(write_table, (tables[-1], rows))
        for format in get_args(Format):
            out = Path(folder, "out.parquet" if format == "parquet" else "out.csv")
            (wall, processor, memory, size), (_, _, least, _) = (
                pool.apply(measure, (table, out, format)) for table in tables
            )
            lines.append(
                f"| `{format}` | {wall:.1f} | {processor:.1f} | {HOUR / processor:,.0f} | {memory:.0f} | {least:.0f} | "
                f"{size:.0f} |"
            )
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.out is not None:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
