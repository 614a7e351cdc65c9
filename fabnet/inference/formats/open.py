"""Which formats there are, what they ask of a table, and opening a file of one of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from fabnet.errors import UserError
from fabnet.files import atomic_file
from fabnet.inference.formats import fex, openface
from fabnet.inference.formats.fex import open_fex
from fabnet.inference.formats.openface import HAS_EXPRESSION, HAS_LANDMARKS, HAS_POSE, HAS_UNITS, open_openface
from fabnet.inference.formats.table import open_plain_csv, open_plain_parquet

Format = Literal["parquet", "csv", "openface", "fex"]

_NEEDS_ANY = {"openface": openface.NEEDS_ANY, "fex": fex.NEEDS_ANY}
_PROBES = {HAS_LANDMARKS: "landmarks68", HAS_POSE: "pose", HAS_UNITS: "units", HAS_EXPRESSION: "expression"}


class Writer(Protocol):
    """Takes the rows of a file in their order, tables of any length; holds few of them at a time."""

    def add(self, rows: pa.Table) -> None: ...


_OPEN: dict[Format, Callable[[Path, pa.Schema], AbstractContextManager[Writer]]] = {
    "parquet": open_plain_parquet,
    "csv": open_plain_csv,
    "openface": open_openface,
    "fex": open_fex,
}


def choose_format(out: Path, format: Format | None) -> Format:
    """The format of a file: the one that is asked for, else by its name, CSV for .csv and Parquet for any other.

    Args:
        out: the file to write, or its name; it need not exist.
        format: None where the name is to decide.

    Raises:
        UserError: the name says another.
    """
    named = out.suffix.lower()
    if format is None:
        return "csv" if named == ".csv" else "parquet"
    if named == (".csv" if format == "parquet" else ".parquet"):
        right = ".parquet" if format == "parquet" else ".csv"
        raise UserError(f"{out}: --format {format} does not write {named[1:]}; name it {out.with_suffix(right)}")
    return format


def check_columns(columns: pa.Schema, format: Format, where: Path | str, remedy: str) -> None:
    """Refuse a table that has nothing of what a format is for.

    Args:
        columns: of the table.
        format: of the file to write.
        where: what an error calls the table.
        remedy: what it says to do.

    Raises:
        UserError: none of the probes was used.
    """
    needed = _NEEDS_ANY.get(format, ())
    if needed and not set(needed) & set(columns.names):
        probes = ", ".join(_PROBES[name] for name in needed)
        raise UserError(
            f"{where}: has no readings of probes, and --format {format} is made of them ({probes}); {remedy}"
        )


def columns_read(columns: pa.Schema, format: Format) -> list[str]:
    """The columns that a writer of this format looks at: formats made of readings do without the embedding.

    Args:
        columns: of the table.
        format: of the file to write.
    """
    return [name for name in columns.names if format not in _NEEDS_ANY or name != "embedding"]


def check_one_input(inputs: int, format: Format) -> None:
    """Refuse several inputs where a file is of one.

    Args:
        inputs: number of images and videos whose faces the file would hold.
        format: of the file to write.

    Raises:
        UserError: OpenFace's table has no column that tells them apart.
    """
    if format == "openface" and inputs > 1:
        raise UserError(
            f"--format openface: {inputs} inputs, but such a file is of one, and has no column to tell them apart; "
            "give one input for each file"
        )


@contextmanager
def open_rows(out: Path, columns: pa.Schema, format: Format) -> Iterator[Writer]:
    """A writer of the file `out`, which is there when the block succeeds, and not before.

    Args:
        out: the file.
        columns: of the tables that will come, as of `fabnet.model.Model.columns`.
        format: one that `check_columns` lets pass.
    """
    with atomic_file(out) as temporary, _OPEN[format](temporary, columns) as file:
        yield file
