"""CSV with the columns of the Parquet table, lists spread over columns: for spreadsheets, R and everything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.csv import CSVWriter

from fabnet.probing.readings import OUTPUTS


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
    with CSVWriter(path, _flat_schema(columns)) as file:
        yield PlainCsv(file, columns)
