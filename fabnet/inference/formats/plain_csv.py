"""CSV with the columns of the Parquet table, lists spread over columns: for spreadsheets, R and everything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow.csv import CSVWriter

from fabnet.inference.formats.flat import flat, flat_schema


class PlainCsv:
    """Writes tables of faces to an open file, in full precision; texts are quoted."""

    def __init__(self, file: CSVWriter) -> None:
        self._file = file

    def add(self, rows: pa.Table) -> None:
        self._file.write_table(flat(rows).replace_schema_metadata())


@contextmanager
def open_plain_csv(path: Path, columns: pa.Schema) -> Iterator[PlainCsv]:
    with CSVWriter(path, flat_schema(columns)) as file:
        yield PlainCsv(file)
