"""Small tables in text files, read line by line, with errors that name file and line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from fabnet.errors import TableError

_LONGEST = 1 << 16  # bytes of a line


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text without line end) of every line; empty lines at the end of the file are left out.

    Raises:
        TableError: the file is missing, or a line is not UTF-8 or absurdly long.
    """
    empty = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), start=1):
                if len(line) == _LONGEST:
                    raise TableError(f"{path}: line {number}: longer than {_LONGEST} bytes")
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    raise TableError(f"{path}: line {number}: not UTF-8 text") from None
                if not text.strip():
                    empty += 1
                    continue
                yield from ((number - ago, "") for ago in range(empty, 0, -1))
                empty = 0
                yield number, text
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from None


def table_rows(
    path: Path, columns: Sequence[str], delimiter: str = ",", others: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """(line number, values of `columns`) of every row; values and column names are stripped of white space around them.

    Args:
        path: of a text file whose first line names the columns.
        columns: that are wanted, in any order.
        delimiter: between values.
        others: whether there may be other columns.

    Raises:
        TableError: names the file and the line with a missing or unknown column, too few or many values, or no text.
    """
    places: list[int] = []
    width = 0
    for number, line in text_lines(path):
        values = [value.strip() for value in _split(line, delimiter, f"{path}: line {number}")]
        if number == 1:
            places, width = _places(values, columns, others, f"{path}: line 1"), len(values)
        elif len(values) != width:
            raise TableError(f"{path}: line {number}: {len(values)} values for the {width} columns of line 1")
        else:
            yield number, [values[place] for place in places]
    if not width:
        raise TableError(f"{path}: is empty; expected a first line {delimiter.join(columns)!r}")


def _split(line: str, delimiter: str, where: str) -> list[str]:
    if not line:
        raise TableError(f"{where}: is empty")
    try:
        (values,) = csv.reader([line], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise TableError(f"{where}: not a row of values, perhaps for a quotation mark") from None
    return values


def _places(header: list[str], columns: Sequence[str], others: bool, where: str) -> list[int]:
    missing = [name for name in columns if name not in header]
    if missing:
        raise TableError(f"{where}: column {missing[0]} is missing; expected {', '.join(columns)}")
    unknown = [name for name in header if name not in columns]
    if unknown and not others:
        raise TableError(f"{where}: column {unknown[0]!r} is unknown; expected {', '.join(columns)}")
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise TableError(f"{where}: column {twice[0]} comes twice")
    return [header.index(name) for name in columns]
