"""The table of `fabnet embed` itself: as Parquet files of equal row groups, whatever the lengths of the tables that are
added, and as CSV with lists spread over columns, for spreadsheets, R and everything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.csv import CSVWriter

from fabnet.probing.readings import OUTPUTS

#: Rows of a group: what a reader or writer holds at a time, about 2 MB of 256-D embeddings.
ROWS = 2048

#: Columns of few values.
_REPEATED = ["input", "recipe", "expression"]


class PlainParquet:
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
def open_plain_parquet(path: Path, columns: pa.Schema) -> Iterator[PlainParquet]:
    """A writer of a Parquet file of row groups of `ROWS`; the last rows are written when the block succeeds.

    Args:
        path: of the file, which is overwritten.
        columns: of the tables that will come.
    """
    repeated = [name for name in _REPEATED if name in columns.names]
    with pq.ParquetWriter(path, columns, compression="zstd", use_dictionary=repeated) as file:
        writer = PlainParquet(file)
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


class PlainCsv:
    """Writes tables of faces to an open file, in full precision; texts are quoted."""

    def __init__(self, file: CSVWriter, columns: pa.Schema) -> None:
        self._file, self._schema = file, _flat_schema(columns)

    def add(self, rows: pa.Table) -> None:
        arrays = []
        for column in rows.schema:
            if pa.types.is_fixed_size_list(column.type):
                arrays += [pa.array(values) for values in matrix(rows, column.name).T]
            else:
                arrays.append(rows[column.name])
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def matrix(rows: pa.Table, name: str) -> NDArray[np.float32]:
    """A column of lists of K numbers, as an array (N, K).

    Args:
        rows: N faces, as `fabnet.model.Model.table` gives them.
        name: of the column: embedding, landmarks68 or landmarks5.
    """
    lists = rows[name].combine_chunks()
    return np.asarray(lists.flatten(), np.float32).reshape(len(rows), lists.type.list_size)


def _flat_schema(columns: pa.Schema) -> pa.Schema:
    """A column for each value of a list: `embedding_0` ..., `landmarks68_x0`, `landmarks68_y0` ..."""
    found: list[tuple[str, pa.DataType]] = []
    for column in columns:
        if pa.types.is_fixed_size_list(column.type):
            values = OUTPUTS.get(column.name, tuple(map(str, range(column.type.list_size))))
            found += [(f"{column.name}_{value}", column.type.value_type) for value in values]
        else:
            found.append((column.name, column.type))
    return pa.schema(found)


@contextmanager
def open_plain_csv(path: Path, columns: pa.Schema) -> Iterator[PlainCsv]:
    """A writer of a CSV with the columns of the table, lists spread over columns.

    Args:
        path: of the file, which is overwritten.
        columns: of the tables that will come.
    """
    with CSVWriter(path, _flat_schema(columns)) as file:
        yield PlainCsv(file, columns)
