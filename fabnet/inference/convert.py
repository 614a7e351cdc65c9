"""A Parquet file of `fabnet embed` becomes one of another format, without any network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fabnet.errors import UserError, one_line
from fabnet.inference.formats.open import Format, check_columns, check_one_input, columns_read, open_rows
from fabnet.inference.formats.table import row_groups
from fabnet.progress import Progress

#: What every table of faces has.
_ALWAYS = {"input", "track", "frame", "time_s", "left", "top", "right", "bottom", "embedding", "recipe"}


def convert(table: Path, out: Path, format: Format) -> int:
    """Write the rows of a table of faces in another format, atomically and a row group at a time.

    Args:
        table: a Parquet file of `fabnet embed`.
        out: the file to write.
        format: its format.

    Returns:
        The number of rows.

    Raises:
        UserError: `table` is no such file, lacks what the format is made of, or has several inputs where a file of
            that format is of one.
    """
    with _opened(table) as file:
        columns = file.schema_arrow
        if missing := sorted(_ALWAYS - set(columns.names)):
            raise UserError(f"{table}: no table of `fabnet embed`: it has no column {', '.join(missing)}")
        check_columns(columns, format, table, "embed with --heads")
        count = int(file.metadata.num_rows)
        if format == "openface":
            inputs = {name for rows in _groups(file, table, ["input"]) for name in pc.unique(rows["input"]).to_pylist()}
            check_one_input(len(inputs), format)
        with open_rows(out, columns, format) as writer, Progress("convert", count, "faces") as progress:
            for rows in _groups(file, table, columns_read(columns, format)):
                writer.add(rows)
                progress.advance(len(rows))
    return count


@contextmanager
def _opened(table: Path) -> Iterator[pq.ParquetFile]:
    if table.is_dir():
        raise UserError(f"{table}: is a folder; name a Parquet file of `fabnet embed`")
    if not table.is_file():
        raise UserError(f"{table}: no such file; name a Parquet file of `fabnet embed`")
    try:
        file = pq.ParquetFile(table)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{table}: no Parquet file: {one_line(error)}") from None
    with file:
        yield file


def _groups(file: pq.ParquetFile, table: Path, columns: list[str]) -> Iterator[pa.Table]:
    try:
        yield from row_groups(file, columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{table}: damaged: {one_line(error)}") from None
