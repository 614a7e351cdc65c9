"""Columns of delimited text as tables whose index is the line of the file, and named arrays of a MATLAB file."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import scipy.io

from fabnet.errors import UserError, counted, one_line

_EMPTY = ("", "nan", "NaN", "NULL")
#: Bytes of a file that are looked at at a time.
_CHUNK = 1 << 22


def place(source: Path | str, rows: pd.Index, row: object) -> str:
    """Where a row stands, in words.

    Args:
        source: a file, or the folder of several.
        rows: an index whose name says what it counts (line, row, face); without a name, its labels are the places
            below `source`.
        row: a label of it.
    """
    return f"{source}, {rows.name} {row}" if rows.name else f"{source}/{row}"


def places(source: Path | str, rows: pd.Index, row: object, other: object) -> str:
    """Where two rows stand, in words.

    Args:
        source: a file, or the folder of several.
        rows: the index, as `place` takes it.
        row: a label of it.
        other: another one.
    """
    return f"{source}, {rows.name}s {row} and {other}" if rows.name else f"{source}/{row} and {other}"


def header_fields(path: Path, delimiter: str = ",") -> list[str]:
    """The fields of a file's first line that is not blank, stripped of white space.

    Args:
        path: of the file.
        delimiter: between fields.

    Raises:
        UserError: there is no such file, it is empty, or no UTF-8 text.
    """
    _, fields = next(_records(path, delimiter), (0, []))
    if not fields:
        raise UserError(f"{path}: is empty")
    return [field.strip() for field in fields]


def read_text(
    path: Path, wanted: Sequence[str], delimiter: str = ",", names: Sequence[str] | None = None
) -> pd.DataFrame:
    """The columns `wanted`, as text; the index, called `line`, is where a row begins in the file, counted from 1.

    A cell in quotes may hold line ends. Blank lines, and rows whose wanted cells are all empty, are passed over.

    Args:
        path: of the file.
        wanted: names of columns.
        delimiter: between fields; text between tabs is not quoted.
        names: of all columns, where the file has no header.

    Raises:
        UserError: no such file, no such column, a column that comes twice, or a line with another number of fields.
    """
    header = names is None
    columns = header_fields(path, delimiter) if names is None else list(names)
    for column in wanted:
        if columns.count(column) != 1:
            problem = "has no column" if column not in columns else "has twice the column"
            raise UserError(f"{path}: {problem} {column}; it has {', '.join(columns[:20])}")
    frame = _at_once(path, wanted, columns, delimiter, header)
    if frame is None:
        frame = _one_by_one(path, wanted, columns, delimiter, header)
    frame = frame.apply(lambda column: column.str.strip()).rename_axis("line")
    return frame[(frame != "").any(axis=1)] if (frame[wanted[0]] == "").any() else frame


def _at_once(
    path: Path, wanted: Sequence[str], columns: list[str], delimiter: str, header: bool
) -> pd.DataFrame | None:
    """The table of a file whose rows are its lines; None where it may not be that, which another way has to tell."""
    unique = [f"{number}:{name}" if name not in wanted else name for number, name in enumerate(columns)]
    try:
        table = pa.csv.read_csv(
            path,
            pa.csv.ReadOptions(use_threads=False, column_names=unique, skip_rows=int(header)),
            pa.csv.ParseOptions(
                delimiter=delimiter, quote_char=_quote(delimiter) or False, newlines_in_values=delimiter != "\t"
            ),
            pa.csv.ConvertOptions(include_columns=list(wanted), column_types=dict.fromkeys(wanted, pa.string())),
        )
    except pa.ArrowInvalid:
        return None
    # Blank lines and cells of several lines make more lines than rows, and nothing makes fewer.
    if len(table) + header != _lines(path):
        return None
    frame = table.to_pandas()
    return frame.set_index(pd.RangeIndex(1 + header, len(frame) + 1 + header))


def _one_by_one(path: Path, wanted: Sequence[str], columns: list[str], delimiter: str, header: bool) -> pd.DataFrame:
    """The same of any file, a row at a time, which takes longer."""
    records = _records(path, delimiter)
    if header:
        next(records)
    at = [columns.index(column) for column in wanted]
    lines, rows = [], []
    for line, fields in records:
        if len(fields) != len(columns):
            raise UserError(f"{path}, line {line}: has {counted(len(fields), 'field')}, not {len(columns)}")
        lines.append(line)
        rows.append([fields[number] for number in at])
    return pd.DataFrame(rows, pd.Index(lines, dtype="int64"), list(wanted), dtype="str")


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a file that are no blank lines, with the line that each begins in."""
    quote = _quote(delimiter)
    quoting: Any = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, quotechar=quote, quoting=quoting)
            begin = 1
            for fields in reader:
                if len(fields) > 1 or any(map(str.strip, fields)):
                    yield begin, fields
                begin = reader.line_num + 1
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as text: {one_line(error)}") from None


def _quote(delimiter: str) -> str | None:
    return None if delimiter == "\t" else '"'


def _lines(path: Path) -> int:
    """The number of lines of a file, blank ones included."""
    count, ended, carriage = 0, True, False
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            count += chunk.count(b"\n") - (carriage and chunk.startswith(b"\n"))  # a line end of two bytes, cut in two
            if b"\r" in chunk:
                count += chunk.count(b"\r") - chunk.count(b"\r\n")
            carriage, ended = chunk.endswith(b"\r"), chunk.endswith((b"\n", b"\r"))
    return count + (not ended)


def lines_in(path: Path) -> pd.Series:
    """The lines of a list of names that are not blank, by their number, from 1.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a list of names: {error}") from None
    found = pd.Series([line.strip() for line in lines], pd.RangeIndex(1, len(lines) + 1, name="line"), dtype="str")
    return found[found != ""]


def as_numbers(column: pd.Series, where: Path | str) -> "pd.Series[float]":
    """Text, or numbers, as float64; NaN where there is nothing.

    Args:
        column: text or numbers; its index names rows, as `place` takes it.
        where: the file, for errors.

    Raises:
        UserError: something else than a number; names file, line and column.
    """
    found = pd.to_numeric(column, errors="coerce").astype("float64")
    bad = found.isna() & column.notna() & ~column.isin(_EMPTY)
    if bad.any():
        row = column.index[bad.to_numpy()][0]
        value = str(column[bad].iloc[0])[:40]
        raise UserError(f"{place(where, column.index, row)}: {column.name} is {value!r}, which is no number")
    return found


def read_mat(path: Path, keys: Sequence[str], what: str) -> dict[str, Any]:
    """The arrays called `keys`, as they are; `what` the file should be of ends an error.

    Args:
        path: of the .mat file.
        keys: of the arrays wanted.
        what: the set that the file should be of, for the error.

    Raises:
        UserError: the file is absent, no MATLAB file, of version 7.3, or lacks a key.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        values = scipy.io.loadmat(path, variable_names=list(keys))
    except NotImplementedError:  # version 7.3 is HDF5, which SciPy does not read
        raise UserError(
            f"{path}: a MATLAB file of version 7.3, which is not read; save it again with `save -v7` in MATLAB"
        ) from None
    except Exception as error:  # SciPy meets damaged files with anything from IndexError to zlib.error
        raise UserError(f"{path}: not a readable .mat file: {one_line(error, 100)}") from None
    for key in keys:
        if key not in values:
            raise UserError(f"{path}: has no {key}; is it a file of {what}?")
    return values


def numbers(values: dict[str, Any], key: str, shape: tuple[int | None, ...], path: Path) -> np.ndarray:
    """An array of `read_mat` as float64; None stands for any length.

    Args:
        values: arrays by key.
        key: of the array.
        shape: that it has to have.
        path: of the file, for errors.

    Raises:
        UserError: it has another shape, or holds something else than finite numbers.
    """
    array = np.asarray(values[key])
    fits = array.ndim == len(shape) and all(want in (None, has) for want, has in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        wanted = " x ".join("N" if length is None else str(length) for length in shape)
        raise UserError(f"{path}: {key} must be {wanted} finite numbers, not {array.shape} {array.dtype}")
    return array.astype(np.float64)
