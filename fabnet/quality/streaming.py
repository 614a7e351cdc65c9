"""A table of any length under its contract, piece by piece, so that memory stays flat."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fabnet import contract, tables
from fabnet.errors import TableError, one_line

_ROWS = 1 << 17
_ORDER = "tracks_in_order"


@dataclass(frozen=True)
class Checked:
    """A table and every rule of its contract that it breaks; rows are numbered as in the file."""

    path: Path
    contract: type[tables.Table]
    rows: int
    findings: tuple[tables.Finding, ...]


def check_file(path: Path, form: type[tables.Table], columns: list[str] | None = None) -> Checked:
    """Check a Parquet table under the contract `form`, which needs no more memory for more rows.

    Rules about a row hold of the whole if they hold of the pieces. Rules about a track do as well, since pieces of an
    index overlap by a row and its tracks are ordered. A column that has to be unique is unique within every piece only,
    where a table has more than one; those of 131,072 rows or fewer have not.

    Args:
        path: of a Parquet file.
        form: the contract.
        columns: check the rules of these columns alone.

    Raises:
        TableError: there is no such file, or it is no table, or from a newer version of fabnet.
    """
    rows, found = 0, []
    file = contract.open_parquet(path, form)
    schema = form.to_schema() if columns is None else form.to_schema().select_columns(columns)
    if columns is not None:
        schema.checks = []
    present = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
    try:
        for piece, first in pieces(file, present):
            found.append(contract.findings(piece, schema, piece.index[0] if first else None))
            if form is tables.Index and columns is None and "track_id" in piece:
                bad, track = unordered(piece), piece["track_id"]
                cases = tuple((row, repr(track[row])[:40]) for row in bad[: tables.CASES])
                found.append([tables.Finding("track_id", _ORDER, len(bad), cases)] if len(bad) else [])
            rows += len(piece) - first
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TableError(
            f"{path}: cannot be read as a table beyond row {rows}: {one_line(error)}; make it again"
        ) from None
    return Checked(path, form, rows, tuple(contract.merged(found)))


def pieces(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[tuple[pd.DataFrame, int]]:
    """Pieces of a table, rows numbered as in the file; one without rows where the table has none.

    Args:
        file: as contract.open_parquet gives it.
        columns: to read; all of them if None.

    Yields:
        each piece, preceded by the last row of the one before; and how many such rows it has, 1 or 0.
    """
    before, row = None, 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
        piece = batch.to_pandas()
        piece.index = pd.RangeIndex(row, row + len(piece))
        row += len(piece)
        whole = piece if before is None else pd.concat([before, piece])
        yield whole, len(whole) - len(piece)
        before = piece.iloc[-1:]
    if before is None:
        yield file.schema_arrow.empty_table().to_pandas(), 0


def unordered(piece: pd.DataFrame) -> pd.Index:
    """Rows of a piece of an index whose track comes before that of the row above."""
    track = piece["track_id"]
    return track.index[track < track.shift(fill_value="")]
