"""What a contract is, and how a table is read, written and checked under one.

`fabnet.tables` holds the contracts themselves. Tables are Parquet. `read` and `write` check them, so a stage never
trusts, nor leaves behind, an illegal table. A file remembers the contract and the version that it was written under.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet as pq
from pandera.errors import SchemaError, SchemaErrors

from fabnet.errors import TableError, counted, one_line
from fabnet.files import atomic_file

#: Bad rows that a report shows for each rule.
CASES = 20

#: Key of a Parquet file's metadata; the value is such as `Index 1`.
WRITTEN_UNDER = b"fabnet.contract"

_SHOWN_RULES = 20
_SHOWN_CASES = 5


class Table(pa.DataFrameModel):
    """A contract. Columns beyond it are illegal, so that a misspelt one is noticed.

    A contract that was ever changed says `metadata = {"version": n}` in its Config; docs/data-quality.md says what to
    do with older files.
    """

    class Config:
        strict = True
        coerce = False

    @classmethod
    def empty_frame(cls) -> pd.DataFrame:
        """A legal table without rows, with the right dtypes."""
        columns = cls.to_schema().columns
        return pd.DataFrame({name: pd.Series([], dtype=str(column.dtype)) for name, column in columns.items()})


@dataclass(frozen=True)
class Finding:
    """A rule that a table breaks.

    Attributes:
        column: empty where the rule is about whole rows or the whole table.
        count: of rows that break it; 1 for a rule about the whole table.
        cases: the first CASES bad rows, each (row, value); the row is None where the rule is about the whole table.
    """

    column: str
    rule: str
    count: int
    cases: tuple[tuple[Any, str], ...]

    def line(self, shown: int = _SHOWN_CASES) -> str:
        if self.rule == "column_in_dataframe":
            return f"column {self.column} is missing"
        if self.rule == "column_in_schema":
            return f"column {self.column} is unknown"
        rows = ", ".join(str(row) for row, _ in self.cases[:shown] if row is not None)
        values = ", ".join(value for _, value in self.cases[: min(3, shown)])
        at = f" (row {rows}: {values})" if rows else f" ({values})" if values else ""
        subject = f"{self.column}: breaks" if self.column else "rows: break"
        return f"{subject} {self.rule} {self.count} time(s){at}"


class IllegalTable(TableError):
    """A table breaks rules of its contract.

    Attributes:
        where: the file.
        findings: every broken rule.
    """

    def __init__(self, where: str, findings: Iterable[Finding]) -> None:
        self.where, self.findings = where, tuple(findings)
        lines = [finding.line() for finding in self.findings]
        more = f"; and {counted(len(lines) - _SHOWN_RULES, 'more rule')}" if len(lines) > _SHOWN_RULES else ""
        super().__init__(f"{where}: {'; '.join(lines[:_SHOWN_RULES])}{more}")


def version(contract: type[Table]) -> int:
    return int((getattr(contract.Config, "metadata", None) or {}).get("version", 1))


def findings(frame: pd.DataFrame, contract: type[Table] | pa.DataFrameSchema, known: Any = None) -> list[Finding]:
    """The rules that `frame` breaks; rows are named by the frame's index.

    Args:
        frame: the table, whose index names its rows; it is not changed.
        contract: or the schema of some of its columns.
        known: a row that is there for the sake of its neighbour; rules that it breaks itself are not reported.
    """
    schema = contract if isinstance(contract, pa.DataFrameSchema) else contract.to_schema()
    try:
        schema.validate(frame, lazy=True, inplace=not schema.coerce)  # else it is copied
    except SchemaErrors as error:
        cases = error.failure_cases
        return _grouped(cases if known is None else cases[cases["index"].isna() | (cases["index"] != known)], frame)
    except SchemaError as error:  # pandera gives up at once on some tables of the wrong shape
        return [Finding("", "shape", 1, ((None, one_line(error, 300)),))]
    return []


def check(frame: pd.DataFrame, contract: type[Table], where: str) -> pd.DataFrame:
    """Return `frame`, with its dtypes coerced where the contract says so, if it is legal.

    Args:
        frame: the table, whose index names its rows.
        contract: what it must follow.
        where: what an error calls the table: its file, or what made it.

    Raises:
        IllegalTable: names `where`, then each broken rule as (column, rule, count) with the first bad cases.
    """
    try:
        return contract.validate(frame, lazy=True, inplace=not contract.to_schema().coerce)
    except (SchemaErrors, SchemaError):
        raise IllegalTable(where, findings(frame, contract)) from None


def merged(parts: Iterable[Iterable[Finding]]) -> list[Finding]:
    """The findings of consecutive pieces of a table as those of the whole."""
    whole: dict[tuple[str, str], Finding] = {}
    for part in parts:
        for new in part:
            old = whole.setdefault((new.column, new.rule), Finding(new.column, new.rule, 0, ()))
            if old.count and (not new.cases or new.cases[0][0] is None):
                continue  # about the whole table, and so once
            cases = (old.cases + new.cases)[:CASES]
            whole[new.column, new.rule] = Finding(new.column, new.rule, old.count + new.count, cases)
    return list(whole.values())


def _grouped(cases: pd.DataFrame, frame: pd.DataFrame) -> list[Finding]:
    """pandera's failure cases, one per bad value, as findings; a rule about rows fails there once per column."""
    found = []
    absent = set(cases["failure_case"][cases["check"] == "column_in_dataframe"])
    about_rows = (cases["schema_context"] == "DataFrameSchema") & ~cases["check"].isin(
        ["column_in_dataframe", "column_in_schema"]
    )
    # A rule about rows raises where a column that it reads is absent or of another type; that is a finding by itself.
    raised = about_rows & cases["index"].isna()
    if (~raised).any():
        cases, about_rows = cases[~raised], about_rows[~raised]
    column = cases["column"].where(~about_rows, "").fillna("").astype(str)
    for (name, rule), group in cases.groupby([column, "check"], dropna=False, sort=False):
        if rule in ("column_in_dataframe", "column_in_schema"):
            found += [Finding(str(value), str(rule), 1, ()) for value in group["failure_case"]]
            continue
        rows = group.drop_duplicates("index") if group["index"].notna().any() else group
        first = rows.head(CASES)
        values = [_shown(value) for value in first["failure_case"]]
        if first["index"].notna().all() and frame.index.is_unique and (not name or name in frame.columns):
            # pandera's own column of them is of one type for all; a rule about rows shows what names the row.
            values = [_shown(value) for value in frame[name or frame.columns[0]].loc[first["index"]]]
        labels = [None if pd.isna(row) else row for row in first["index"]]
        found.append(Finding(str(name), str(rule), len(rows), tuple(zip(labels, values, strict=True))))
    return sorted(found, key=lambda finding: (finding.column not in absent, finding.rule != "column_in_schema"))


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)[:40]


def read(path: Path | str, contract: type[Table]) -> pd.DataFrame:
    """Read a Parquet table (CSV where the name ends so) and check it.

    Args:
        path: of the table.
        contract: that it has to follow.

    Raises:
        TableError: the file is absent, no table, written by a newer version of fabnet, or illegal.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: no such table")
    try:
        if path.suffix == ".csv":
            frame = pd.read_csv(path)
        else:
            refuse_newer(pq.read_schema(path), contract, path)
            frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {one_line(error)}") from None
    return check(frame, contract, str(path))


def open_parquet(path: Path | str, contract: type[Table]) -> pq.ParquetFile:
    """A Parquet file to be read piece by piece, whose rows are not checked yet.

    Args:
        path: of the file.
        contract: that its metadata may name.

    Raises:
        TableError: the file is absent, no table, or was written by a newer version of fabnet.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: no such table")
    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {one_line(error)}") from None
    refuse_newer(file.schema_arrow, contract, path)
    return file


def refuse_newer(schema: pyarrow.Schema, contract: type[Table], path: Path | str) -> None:
    """Raises TableError if the file at `path` was written under a later version of `contract`, or under another one.

    Files without a mark, such as those of other tools, are judged by their content alone.

    Args:
        schema: of the file, with the metadata that `write` left in it.
        contract: which the file is read under.
        path: of the file, for errors.
    """
    mark = (schema.metadata or {}).get(WRITTEN_UNDER)
    if mark is None:
        return
    name, _, number = mark.decode(errors="replace").partition(" ")
    if name != contract.__name__:
        raise TableError(f"{path}: is a table of {name}, not of {contract.__name__}")
    if not number.isdigit() or int(number) > version(contract):
        raise TableError(
            f"{path}: was written under version {number} of {name}, and this fabnet knows version {version(contract)}; "
            "update fabnet, or make the table again"
        )


def mark(schema: pyarrow.Schema, contract: type[Table]) -> pyarrow.Schema:
    """`schema` with the contract and its version in the metadata, for writers of their own.

    Args:
        schema: of a file to be written.
        contract: that its rows follow.
    """
    written_under = f"{contract.__name__} {version(contract)}".encode()
    return schema.with_metadata({**(schema.metadata or {}), WRITTEN_UNDER: written_under})


def write(frame: pd.DataFrame, path: Path | str, contract: type[Table]) -> None:
    """Check a table and write it as Parquet, atomically.

    Args:
        frame: the rows.
        path: of the file.
        contract: that the rows have to follow.
    """
    check(frame, contract, str(path))
    with atomic_file(path) as temporary:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table.cast(mark(table.schema, contract)), temporary)
