"""`fabnet check PATH`: what is this, and is it legal? Every rule that is broken, with its first cases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from fabnet import contract, tables
from fabnet.errors import TableError, UserError, counted, one_line
from fabnet.files import read_json
from fabnet.frames.shards import INDEX, RECIPE, SHARDS
from fabnet.probing.embeddings import read_embeddings
from fabnet.quality.health import check_recipe, legal_frames
from fabnet.quality.profile import read_profile
from fabnet.quality.schema import contracts
from fabnet.quality.streaming import Checked, check_file
from fabnet.video.unit import LEDGER, REJECTS

_KNOWN = (
    "a directory of frames, labels, embeddings, predictions or a model; one of their tables (.parquet); clips or boxes "
    "(.csv); metrics.json; crop.json; profile.json"
)


class Report:
    """The lines that `fabnet check` prints, and whether all was legal."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.legal = True

    def good(self, what: str) -> None:
        """Add a line that says that `what` is legal."""
        self.lines.append(f"ok       {what}")

    def bad(self, what: str, cases: tuple[str, ...] = ()) -> None:
        """Add a line for a broken rule.

        Args:
            what: file, contract and rule.
            cases: the first values that break it, a line each.
        """
        self.legal = False
        self.lines += [f"ILLEGAL  {what}", *(f"           {case}" for case in cases)]

    def skipped(self, what: str) -> None:
        self.lines.append(f"skipped  {what}")

    def table(self, checked: Checked) -> None:
        name = f"{checked.path}: {checked.contract.__name__} {contract.version(checked.contract)}"
        if not checked.findings:
            self.good(f"{name}, {counted(checked.rows, 'row')}")
        for finding in checked.findings:
            cases = tuple(value if row is None else f"row {row}: {value}" for row, value in finding.cases)
            self.bad(f"{name}, {counted(checked.rows, 'row')}: {finding.line(0)}", cases)

    def attempt(self, what: str, work: Callable[[], object]) -> bool:
        """Do `work`; an error meant for people becomes a line.

        Args:
            what: the line where it succeeds.
            work: takes nothing; what it returns is ignored.
        """
        try:
            work()
        except UserError as error:
            self.bad(str(error))
            return False
        self.good(what)
        return True

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def check(path: Path, splits: Path | None = None) -> Report:
    """Check whatever lies at `path`, which is recognised by its names and columns.

    Args:
        path: a file or a folder.
        splits: of the identities of a directory of frames; `splits.parquet` beside it if not given.

    Raises:
        UserError: there is nothing at `path`, or nothing that has a contract.
    """
    report = Report()
    if not path.exists():
        raise UserError(f"{path}: no such file or directory")
    if path.is_file():
        _check_one(path, report)
    elif (path / INDEX).is_file():
        _check_frames(path, splits or path.parent / "splits.parquet", report)
    elif (path / "embeddings.npy").is_file():
        _check_embeddings(path, report)
    else:
        found = [path / name for name in _TABLES if (path / name).is_file()]
        if not found:
            raise UserError(f"{path}: holds nothing that has a contract; known are {_KNOWN}")
        for one in found:
            _check_one(one, report)
    return report


_TABLES = {
    "labels.parquet": tables.Labels,
    "predictions.parquet": tables.Predictions,
    "history.parquet": tables.History,
    "splits.parquet": tables.Splits,
    "ids.parquet": tables.EmbeddingIds,
    INDEX: tables.Index,
    REJECTS: tables.Rejects,
    LEDGER: tables.Ledger,
    SHARDS: tables.Shards,
}


def _check_one(path: Path, report: Report) -> None:
    if path.suffix == ".parquet":
        _attempt_table(path, contract_of(path), report)
    elif path.suffix == ".csv":
        columns = pd.read_csv(path, nrows=0).columns
        form = tables.Boxes if "time_s" in columns else tables.Clips
        report.attempt(f"{path}: {form.__name__}", lambda: tables.read(path, form))
    elif path.name == RECIPE:
        report.attempt(f"{path}: the crop recipe and its hash", lambda: check_recipe(path))
    elif path.name.endswith("profile.json"):
        report.attempt(f"{path}: quantiles of a batch of frames", lambda: read_profile(path))
    elif path.name == "metrics.json":
        report.attempt(
            f"{path}: {tables.Metrics.__name__}",
            lambda: tables.check(tables.metrics_frame(_json(path), path), tables.Metrics, str(path)),
        )
    else:
        raise UserError(f"{path}: has no contract; known are {_KNOWN}")


def contract_of(path: Path) -> type[tables.Table]:
    """The contract that a Parquet file was written under, or else the one whose columns it holds most of.

    Raises:
        TableError: it is no table, or like none of ours.
    """
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {one_line(error)}") from None
    forms = contracts()
    name = (schema.metadata or {}).get(contract.WRITTEN_UNDER, b"").decode(errors="replace").partition(" ")[0]
    if name in forms:
        return forms[name]
    if path.name in _TABLES:
        return _TABLES[path.name]

    def likeness(form: type[tables.Table]) -> float:
        columns = form.to_schema().columns
        needed = {name for name, column in columns.items() if column.required}
        return len(needed & set(schema.names)) / len(needed | (set(schema.names) - set(columns)))

    best = max(forms.values(), key=likeness)
    if likeness(best) < 0.5:
        raise TableError(f"{path}: its columns are of no contract: {', '.join(schema.names[:10])}; see `fabnet schema`")
    return best


def _attempt_table(path: Path, form: type[tables.Table], report: Report) -> bool:
    try:
        checked = check_file(path, form)
    except TableError as error:
        report.bad(str(error))
        return False
    report.table(checked)
    return not checked.findings


def _check_frames(frames: Path, splits: Path, report: Report) -> None:
    """Its tables each, and if they are legal, each against the others and the shards."""
    legal = report.attempt(f"{frames / RECIPE}: the crop recipe and its hash", lambda: check_recipe(frames / RECIPE))
    forms = [(frames / name, _TABLES[name]) for name in (INDEX, REJECTS, LEDGER, SHARDS)]
    if splits.is_file():
        forms.append((splits, tables.Splits))
    for path, form in forms:
        legal &= _attempt_table(path, form, report)
    joins = f"{frames}: index, shards, ledger and rejects agree, and every identity has one split"
    if not splits.is_file():
        report.skipped(f"{joins}: there is no {splits}; name it with --splits")
    elif not legal:
        report.skipped(f"{joins}: not looked at before the tables are legal")
    else:
        report.attempt(joins, lambda: legal_frames(frames, splits))


def _check_embeddings(directory: Path, report: Report) -> None:
    if _attempt_table(directory / "ids.parquet", tables.EmbeddingIds, report):
        report.attempt(f"{directory}: embeddings are finite, and named one by one", lambda: read_embeddings(directory))


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError as error:
        raise TableError(f"{path}: is no JSON: {error}") from None
