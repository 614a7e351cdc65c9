"""The contracts for other tools, and whether a change of one is announced by a new version and a note."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandera.pandas as pa

from fabnet import contract, tables
from fabnet.errors import UserError
from fabnet.files import read_json

#: Where the documentation says how to bring an older file up to a version.
NOTES = "docs/data-quality.md"


def contracts() -> dict[str, type[tables.Table]]:
    """Every contract of fabnet.tables by name, sorted."""
    found = {name: value for name, value in vars(tables).items() if isinstance(value, type)}
    forms = {
        name: value for name, value in found.items() if issubclass(value, tables.Table) and value is not tables.Table
    }
    return dict(sorted(forms.items()))


def export() -> dict[str, Any]:
    """{contract: {version, description, strict, columns, rules, unique}}; a function of the code alone."""
    return {name: _exported(form) for name, form in contracts().items()}


def _exported(form: type[tables.Table]) -> dict[str, Any]:
    schema = form.to_schema()
    unique = [schema.unique] if isinstance(schema.unique, str) else list(schema.unique or [])
    return {
        "version": contract.version(form),
        "description": " ".join((form.__doc__ or "").split()),
        "other_columns": "refused" if schema.strict else "ignored",
        "columns": {str(name): _column(column) for name, column in schema.columns.items()},
        "rules_about_rows": [check.name for check in schema.checks],
        "unique_together": unique,
    }


def _column(column: pa.Column) -> dict[str, Any]:
    rules = {check.name: _plain(check.statistics) for check in column.checks}
    return {
        "type": "string" if str(column.dtype).startswith(("str", "string")) else str(column.dtype),
        "required": bool(column.required),
        "may_be_null": bool(column.nullable),
        "unique": bool(column.unique),
        "rules": rules,
        "description": column.description or "",
    }


def _plain(value: Any) -> Any:
    """JSON of a check's arguments; sets and tuples as lists, infinities by name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value


def unannounced(old: Mapping[str, Any], new: Mapping[str, Any], notes: str) -> list[str]:
    """What is wrong with the step from one export to a later one; nothing if every change is announced.

    A contract that changes needs a higher version, and a version above 1 needs a note, which is a line in `notes` that
    begins with the contract's name and its version, such as `### Index 2`. Descriptions may change freely.

    Args:
        old, new: as `export` gives them.
        notes: text of docs/data-quality.md.
    """
    problems = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            if f"### {name} removed" not in notes:
                problems.append(f"{name}: is gone; say in {NOTES}, under `### {name} removed`, what replaces it")
            continue
        now = new[name]
        before = old.get(name)
        if before is not None and now["version"] < before["version"]:
            problems.append(f"{name}: version {now['version']} is lower than {before['version']}")
        elif before is not None and _legal_form(before) != _legal_form(now) and now["version"] == before["version"]:
            problems.append(
                f'{name}: has changed; raise `metadata = {{"version": {now["version"] + 1}}}` in its Config'
            )
        if now["version"] > 1 and f"### {name} {now['version']}\n" not in notes:
            problems.append(f"{name}: say in {NOTES}, under `### {name} {now['version']}`, what becomes of older files")
    return problems


def require_announced(old: Path, notes: Path = Path(NOTES)) -> None:
    """Raises UserError if a contract has changed since the export `old` was written, unannounced.

    Args:
        old: a file of `fabnet schema --json`.
        notes: the page that says what becomes of older files.
    """
    try:
        before = read_json(old)
    except (OSError, ValueError) as error:
        raise UserError(f"{old}: holds no contracts: {error}") from None
    problems = unannounced(before, export(), notes.read_text())
    if problems:
        raise UserError(f"contracts against {old}: {'; '.join(problems)}")


def _legal_form(exported: Mapping[str, Any]) -> dict[str, Any]:
    """What decides whether a table is legal."""
    columns = {
        name: {key: value for key, value in column.items() if key != "description"}
        for name, column in exported["columns"].items()
    }
    return {**{key: exported[key] for key in exported if key not in ("description", "version")}, "columns": columns}
