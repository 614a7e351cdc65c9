"""Where runs are kept: the tracking store, its experiment, and its schema, which only one process may create."""

import fcntl
import logging
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fabnet.errors import UserError, one_line
from fabnet.files import atomic_file

if TYPE_CHECKING:
    from mlflow import MlflowClient


CONNECT_S = 3.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}

#: Columns that hold the place of an artifact, by table. The first is where those of new runs go.
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
EXPERIMENT = "fabnet"
_SQLITE = "sqlite:///"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # what MLflow opens itself, without a server
_BUSY_S = 5.0  # for which a database may be locked by another process before we give it up
_NOISY = ("mlflow", "alembic", "urllib3")  # they report retries and migrations; failures reach us as exceptions

# Defaults of the environment, set before MLflow is imported. A server that is not there is found out before MLflow is
# asked, whose own defaults are 120 s and 7 retries. The limits are for one that takes connections and does not answer:
# 20 s are long enough for a busy server, and twice that is what a dead one costs.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def check_reachable(uri: str) -> None:
    """Connect to the server that a URI names, and hang up: MLflow and its database drivers try for minutes.

    A URI without a host, such as that of a sqlite file, and a server behind a proxy are left to MLflow.

    Raises:
        ConnectionError: nothing answers there within three seconds.
        ValueError: the port is no number.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]  # postgresql+psycopg
    port = parts.port or _PORTS.get(scheme)
    if not parts.hostname or port is None:
        return
    if scheme in ("http", "https"):
        # What MLflow's client goes by, and so ALL_PROXY and all forms of NO_PROXY, of which urllib knows a part.
        from requests.utils import get_environ_proxies, select_proxy

        if select_proxy(uri, get_environ_proxies(uri)):
            return
    try:
        socket.create_connection((parts.hostname, port), CONNECT_S).close()
    except OSError as error:
        raise ConnectionError(f"no connection to {parts.hostname}:{port}: {error}") from error


def shown(uri: str) -> str:
    """A URI without the user and password that it may hold."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def without_password(error: BaseException, uri: str, length: int) -> str:
    """What an error says, in one line of at most `length` characters, without the password in a store's URI.

    Args:
        error: of the tracking store.
        uri: of the store.
        length: most characters of the line.
    """
    text = one_line(error, None)
    secrets = urlsplit(uri).netloc.rpartition("@")[0]
    if secrets:
        text = text.replace(f"{secrets}@", "")
    return text[:length]


def follow(database: Path, artifacts: Path, timeout_s: float) -> int:
    """Make a store name `artifacts`, the folder of this project, where it names that of another place.

    For a project that was moved or copied: MLflow writes the absolute place into the experiment, each run and each
    version of a registered model, and has no call that changes them.

    Another place is one of the same name whose folder is gone, or stands beside a database of its own (a copy), or that
    has its counterpart here. An artifact that did not come along keeps its place, where it lies or will lie again once
    a disk is mounted. A run without artifacts follows where that can be told. All changes are one transaction.

    Args:
        database: the sqlite file.
        artifacts: the folder that it should name.
        timeout_s: for which another process may hold the database.

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


def project_root() -> Path:
    """The DVC root when a stage runs under DVC, else git's, else the working directory."""
    if root := os.environ.get("DVC_ROOT"):
        return Path(root)
    try:
        command = ["git", "rev-parse", "--show-toplevel"]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return Path.cwd()
    return Path(found.stdout.strip())


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db in the root of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{project_root() / 'mlflow.db'}"


def open_store() -> tuple["MlflowClient", str]:
    """A client of the store and the id of the experiment, made if need be.

    A sqlite store keeps artifacts in mlartifacts/ beside its database, also after both were moved or copied; another
    database in the root of the project; a server decides for itself.
    """
    _import_mlflow()
    with quiet():
        return _open()


def _import_mlflow() -> None:
    """Import MLflow if the store can be reached; its import sets up its logging, which only then can be silenced."""
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    check_reachable(tracking_uri())
    import mlflow  # noqa: F401


def _open() -> tuple["MlflowClient", str]:
    from mlflow import MlflowClient

    uri = tracking_uri()
    if not uri.startswith(_DATABASES):
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment(client, None)
    database = Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute() if uri.startswith(_SQLITE) else None
    folder = database.parent if database else project_root()
    folder.mkdir(parents=True, exist_ok=True)
    # Two processes that create the schema of one database at once crash each other.
    with _locked(folder):
        if database:
            _create_or_check(database)
            follow(database, folder / "mlartifacts", _BUSY_S)
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment(client, (folder / "mlartifacts").as_uri())


def _create_or_check(database: Path) -> None:
    """Make a database with MLflow's schema if there is none, or see that it can be read."""
    from mlflow import MlflowClient

    if not database.exists():
        # Atomically: MLflow cannot go on from half a schema, which a kill or a full disk would leave.
        # We hold the lock, so what lies here under a temporary name is of a process that was killed.
        for left in database.parent.glob(f".{escape(database.stem)}-*{escape(database.suffix)}*"):
            left.unlink()
        with atomic_file(database) as temporary:
            MlflowClient(tracking_uri=f"{_SQLITE}{temporary}").search_experiments()
        return
    # MLflow tries for 100 s to open a database that cannot be opened; this fails at once.
    with closing(sqlite3.connect(database, timeout=_BUSY_S)) as connection:
        connection.execute("SELECT name FROM sqlite_master")


@contextmanager
def required_store() -> Iterator[tuple["MlflowClient", str]]:
    """As `open_store`, for commands that are of no use without it: what goes wrong with it is one line.

    Raises:
        UserError: the store cannot be reached, opened or written to.
    """
    try:
        _import_mlflow()
        with quiet():
            yield _open()
    except UserError:
        raise
    except Exception as error:
        if not _of_the_store(error):
            raise
        uri = tracking_uri()
        raise UserError(
            f"{shown(uri)}: the tracking store failed: {without_password(error, uri, 300)}; is it running, free of "
            "other writers, and its disk not full?"
        ) from error


def _of_the_store(error: Exception) -> bool:
    if isinstance(error, OSError | sqlite3.Error):
        return True
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | SQLAlchemyError)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow, which is imported, logs, so that a failure is one line of ours and not twenty of its."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _experiment(client: "MlflowClient", artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException as error:
            # Another client of the same server may have been faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
            if found is None:  # it exists, but was deleted
                raise
    return str(found.experiment_id)


@contextmanager
def _locked(folder: Path, wait_s: float = 60.0) -> Iterator[None]:
    """Hold the folder itself, which leaves no lock file behind. The lock ends with the process."""
    handle = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{folder}: another process has held the tracking store for {wait_s:.0f} s"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
