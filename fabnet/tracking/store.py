"""Where runs are kept: the tracking store, its experiment, and its schema, which only one process may create."""

import fcntl
import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fabnet.errors import UserError
from fabnet.files import atomic_file
from fabnet.tracking.address import check_reachable, one_line, shown
from fabnet.tracking.moved import follow

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
        # Whole or not at all: MLflow cannot go on from half a schema, which a kill or a full disk would leave.
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
            f"{shown(uri)}: the tracking store failed: {one_line(error, uri, 300)}; is it running, free of other "
            "writers, and its disk not full?"
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
