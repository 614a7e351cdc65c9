"""Columns of delimited text as tables whose index is the line of the file, and named arrays of a MATLAB file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import scipy.io

from fabnet.errors import UserError, one_line

_EMPTY = ("", "nan", "NaN", "NULL")


def header_fields(path: Path, delimiter: str = ",") -> list[str]:
    """The fields of a file's first line, stripped of white space.

    Raises:
        UserError: there is no such file, it is empty, or no UTF-8 text.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            fields = next(csv.reader(file, delimiter=delimiter), None)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from None
    if not fields:
        raise UserError(f"{path}: is empty")
    return [field.strip() for field in fields]


def read_text(
    path: Path, wanted: Sequence[str], delimiter: str = ",", names: Sequence[str] | None = None
) -> pd.DataFrame:
    """The columns `wanted`, as text; the index is the number of the line, from 1.

    Args:
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
    unique = [f"{number}:{name}" if name not in wanted else name for number, name in enumerate(columns)]
    try:
        table = pa.csv.read_csv(
            path,
            pa.csv.ReadOptions(use_threads=False, column_names=unique, skip_rows=int(header)),
            pa.csv.ParseOptions(delimiter=delimiter, quote_char=False if delimiter == "\t" else '"'),
            pa.csv.ConvertOptions(include_columns=list(wanted), column_types=dict.fromkeys(wanted, pa.string())),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            table = pa.table({column: pa.array([], pa.string()) for column in wanted})
        else:
            raise UserError(f"{path}: {one_line(error)}") from None
    frame = table.to_pandas().apply(lambda column: column.str.strip())
    return frame.set_index(pd.RangeIndex(1 + header, len(frame) + 1 + header))


def as_numbers(column: pd.Series, where: Path | str, line: str = "line") -> "pd.Series[float]":
    """Text, or numbers, as float64; NaN where there is nothing.

    Args:
        column: text or numbers; its index names rows.
        where: the file, for errors.
        line: what errors call a row.

    Raises:
        UserError: something else than a number; names file, line and column.
    """
    found = pd.to_numeric(column, errors="coerce").astype("float64")
    bad = found.isna() & column.notna() & ~column.isin(_EMPTY)
    if bad.any():
        row = column.index[bad.to_numpy()][0]
        raise UserError(f"{where}, {line} {row}: {column.name} is {str(column.loc[row])[:40]!r}, which is no number")
    return found


def read_boxes(path: Path, images: pd.Series) -> pd.DataFrame:
    """Boxes of images from a CSV image,left,top,right,bottom: a row per image, in order, NaN where it has none.

    Args:
        path: of the CSV.
        images: names whose boxes are wanted.

    Raises:
        UserError: the file cannot be read, has no number where one is due, or an image twice.
    """
    columns = ["left", "top", "right", "bottom"]
    table = read_text(path, ["image", *columns])
    twice = table["image"].duplicated()
    if twice.any():
        row = table.index[twice.to_numpy()][0]
        raise UserError(f"{path}, line {row}: {table['image'].loc[row]} comes a second time")
    for column in columns:
        table[column] = as_numbers(table[column], path)
    small = table[(table["right"] <= table["left"]) | (table["bottom"] <= table["top"])]
    if len(small):
        raise UserError(f"{path}, line {small.index[0]}: the box of {small['image'].iloc[0]} has no area")
    return table.set_index("image")[columns].reindex(images.to_numpy()).set_index(images.index)


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
