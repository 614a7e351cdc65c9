"""A project that was moved or copied: its sqlite store goes on naming the place of artifacts where it was made.

MLflow writes the absolute place into the experiment, each run and each version of a registered model, and has no call
that changes them.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Columns that hold the place of an artifact, by table. The first is where those of new runs go.
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def follow(database: Path, artifacts: Path, timeout_s: float) -> int:
    """Make a store name `artifacts`, the folder of this project, where it names that of another place.

    Another place is one of the same name whose folder is gone, or stands beside a database of its own (a copy), or that
    has its counterpart here. An artifact that did not come along keeps its place, where it lies or will lie again once
    a disk is mounted. A run without artifacts follows where that can be told. All changes are one transaction.

    Returns:
        the number of experiments whose place has changed.
    """
    with closing(sqlite3.connect(database, timeout=timeout_s, isolation_level=None)) as connection:
        strange = _strange(connection, database, artifacts)
        if not strange:
            return 0
        connection.execute("BEGIN IMMEDIATE")
        try:
            for place in strange:
                _rename(connection, place, artifacts)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    return len(strange)


def _strange(connection: sqlite3.Connection, database: Path, artifacts: Path) -> list[str]:
    """Places of experiments that are those of this project at another place."""
    if "experiments" not in _tables(connection):
        return []
    places = [place for (place,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments") if place]
    found = []
    for place in places:
        folder = _path(place)
        if folder is None or folder.name != artifacts.name or _same(folder.parent, artifacts.parent):
            continue
        if not folder.exists() or artifacts.exists() or (folder.parent / database.name).exists():
            found.append(place)
    return found


def _rename(connection: sqlite3.Connection, place: str, artifacts: Path) -> None:
    there = _tables(connection)
    for table, columns in _PLACES.items():
        for column in columns if table in there else ():
            rows = connection.execute(
                f"SELECT rowid, {column} FROM {table} WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (place, len(place) + 1, f"{place}/"),
            ).fetchall()
            for row, old in rows:
                new = artifacts.as_uri() + old[len(place) :]
                if table == "experiments" or _holds(new) or (table == "runs" and _lies(place) and not _lies(old)):
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder, by links or not."""
    return one == other or (one.exists() and other.exists() and one.samefile(other))


def _holds(place: str) -> bool:
    """Whether files lie there: a folder that holds none is no place of artifacts."""
    path = _path(place)
    return path is not None and (path.is_file() or (path.is_dir() and any(path.iterdir())))


def _lies(place: str) -> bool:
    path = _path(place)
    return path is not None and path.exists()


def _path(place: str) -> Path | None:
    """Of a file: URI or a plain path; None of anything else."""
    parts = urlsplit(place)
    if parts.scheme == "file" and not parts.netloc:
        return Path(unquote(parts.path))
    return Path(place) if not parts.scheme and place.startswith("/") else None
