"""Where runs are kept: the tracking store, its experiment, and its schema, which only one process may create."""

import fcntl
import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fabnet.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "fabnet"
_SQLITE = "sqlite:///"
_NOISY = ("mlflow", "alembic", "urllib3")  # they report retries and migrations; failures reach us as exceptions

# Defaults of the environment, set before MLflow is imported. The limits bound what a dead server costs: a connection
# is tried twice, for 3 s each time, and once more to close the run.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
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

    A sqlite store keeps artifacts in mlartifacts/ beside its database; a server decides for itself.
    """
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    uri = tracking_uri()
    if not uri.startswith(_SQLITE):
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment(client, None)
    database = Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute()
    folder = database.parent
    folder.mkdir(parents=True, exist_ok=True)
    # MLflow tries for 100 s to open a database that cannot be opened; this fails at once.
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("SELECT name FROM sqlite_master")
    # Two processes that create the schema of one database at once crash each other.
    # MLflow has set up its logging by now, so only now can it be silenced.
    with _locked(folder), quiet():
        client = MlflowClient(tracking_uri=uri)
        return client, _experiment(client, (folder / "mlartifacts").as_uri())


@contextmanager
def required_store() -> Iterator[tuple["MlflowClient", str]]:
    """As `open_store`, for commands that are of no use without it: what goes wrong with it is one line.

    Raises:
        UserError: the store cannot be reached, opened or written to.
    """
    with quiet():
        try:
            yield open_store()
        except UserError:
            raise
        except Exception as error:
            if not _of_the_store(error):
                raise
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{shown(tracking_uri())}: the tracking store failed: {reason}; is it running, free of other writers, "
                "and its disk not full?"
            ) from error


def _of_the_store(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | SQLAlchemyError | sqlite3.Error | OSError)


def shown(uri: str) -> str:
    """A URI without the password that it may hold."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow logs, so that a failure is one line of ours and not twenty of its."""
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
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id) if found else str(client.create_experiment(name, artifact_location=artifacts))


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
