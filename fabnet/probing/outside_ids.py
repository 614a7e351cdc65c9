"""The file that names the rows of an array: Parquet, CSV or plain lines."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fabnet.errors import UserError

#: Columns that name a face, the first that is there; a table of one column needs none of these names.
_COLUMNS = ("face_id", "image")


def read_ids(path: Path) -> tuple[list[str], Sequence[int]]:
    """The ids in a file, and where each stands: lines from 1 of text, rows from 0 of Parquet.

    Raises:
        UserError: the file is absent or cannot be read, has no column of ids, or an empty one; names the row.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        names, places, what = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    for name, place in zip(names, places, strict=True):
        if not name:
            raise UserError(f"{path}, {what} {place}: the id is empty")
    return names, places


def require_unique(names: Sequence[str], places: Sequence[int], path: Path) -> None:
    """Raises UserError if an id comes twice, and says where."""
    seen: dict[str, int] = {}
    for name, place in zip(names, places, strict=True):
        if name in seen:
            raise UserError(f"{path}, rows {seen[name]} and {place}: {name} comes twice; an id names one embedding")
        seen[name] = place


def _parquet(path: Path) -> tuple[list[str], Sequence[int], str]:
    column = _column(pq.read_schema(path).names, path)
    ids = pq.read_table(path, columns=[column])[column]
    names = ids.cast(pa.string()).fill_null("").to_pylist()
    return names, range(len(names)), "row"


def _text(path: Path) -> tuple[list[str], Sequence[int], str]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        if path.suffix.lower() != ".csv":
            lines = [line.strip() for line in file.read().splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            return lines, range(1, len(lines) + 1), "line"
        reader = csv.reader(file)
        header = [field.strip() for field in next(reader, [])]
        at = header.index(_column(header, path))
        names, places = [], []
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(f"line {reader.line_num} has {len(fields)} fields, not {len(header)}")
            names.append(fields[at].strip())
            places.append(reader.line_num)
    return names, places, "line"


def _column(names: Sequence[str], path: Path) -> str:
    found = next((name for name in _COLUMNS if name in names), names[0] if len(names) == 1 else None)
    if found is None:
        has = f"it has {', '.join(names[:20])}" if names else "it is empty"
        raise UserError(f"{path}: has no column {' or '.join(_COLUMNS)}; {has}")
    return found
