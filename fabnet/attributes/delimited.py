"""Columns of delimited text, and of Parquet, as tables whose index is the line of the file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from fabnet.errors import UserError

_EMPTY = ("", "nan", "NaN", "NULL")


def first_line(path: Path, delimiter: str = ",") -> list[str]:
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
    columns = first_line(path, delimiter) if names is None else list(names)
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
            raise UserError(f"{path}: {' '.join(str(error).split())[:200]}") from None
    frame = table.to_pandas().apply(lambda column: column.str.strip())
    return frame.set_index(pd.RangeIndex(1 + header, len(frame) + 1 + header))


def as_numbers(column: pd.Series, where: Path | str, line: str = "line") -> "pd.Series[float]":
    """Text, or numbers, as float64; NaN where there is nothing.

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
