"""Parquet files of equal row groups, whatever the lengths of the tables that are added to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a group: what a reader or writer holds at a time, about 2 MB of 256-D embeddings.
ROWS = 2048

#: Columns of few values.
_REPEATED = ["input", "recipe", "expression"]


class Writer:
    """Collects tables of any length and writes row groups of `ROWS`, however the rows came in."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self._held: list[pa.Table] = []
        self._count = 0

    def add(self, rows: pa.Table) -> None:
        self._held.append(rows)
        self._count += len(rows)
        while self._count >= ROWS:
            self._write(ROWS)

    def describe(self, metadata: dict[str, str]) -> None:
        """Add to the metadata of the file."""
        self._file.add_key_value_metadata(metadata)

    def finish(self) -> None:
        if self._count:
            self._write(self._count)

    def _write(self, count: int) -> None:
        held = pa.concat_tables(self._held)
        self._file.write_table(held.slice(0, count).combine_chunks(), row_group_size=ROWS)
        self._held = [held.slice(count)]
        self._count -= count


@contextmanager
def open_writer(path: Path, columns: pa.Schema) -> Iterator[Writer]:
    repeated = [name for name in _REPEATED if name in columns.names]
    with pq.ParquetWriter(path, columns, compression="zstd", use_dictionary=repeated) as file:
        writer = Writer(file)
        yield writer
        writer.finish()


def row_groups(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a file, a group at a time.

    Not `iter_batches`, which keeps the bytes of every group that it has read.

    Args:
        file: to read.
        columns: to read; None takes all.
    """
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns)
