"""A store that is not there, silent, locked, or on a full disk: a warning for a stage, one line for a command."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import tracked_project
import warm_process
from registered_project import aliases, forget_store, use

from fabnet.cli.main import main
from fabnet.errors import UserError
from fabnet.tracking import run
from fabnet.tracking import store as store_module
from fabnet.tracking.registry.lifecycle import register
from fabnet.tracking.registry.versions import CHALLENGER
from fabnet.tracking.store import check_reachable, open_store, shown, without_password

pytestmark = pytest.mark.usefixtures("blank_figures")

COMMANDS = [
    ["track", "sync"],
    ["register", "fabnet"],
    ["promote"],
    ["rollback"],
    ["lineage", "models:/fabnet@champion"],
]


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_store(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tracked_project.make(tmp_path_factory.mktemp("made"))
    shutil.copyfile(Path(__file__).parents[2] / "gates.yaml", root / "gates.yaml")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an empty store, in use."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    tracked_project.add_store(tmp_path)
    use(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://person:secret@127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another connection writes, and does not end."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow beyond `size`: what a full disk looks like to those who write large ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """The exit code of `fabnet ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["fabnet", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


# -- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_on_a_server_that_is_not_there_is_one_line_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str]
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://person:secret@127.0.0.1:9")  # nothing listens
    began = time.monotonic()
    assert command(arguments, monkeypatch) == 1
    assert time.monotonic() - began < 20  # most of it imports
    out, err = capfd.readouterr()
    assert out == ""
    *steps, line = err.splitlines()
    assert all("(step " in step for step in steps)  # how far `register` came
    assert line.startswith("error: http://127.0.0.1:9: the tracking store failed: no connection to 127.0.0.1:9: ")


def test_a_command_that_makes_its_database_is_one_line(tmp_path: Path):
    """In a process of its own: MLflow sets up its logging when it is imported, here after the command began."""
    tracked_project.add_store(tmp_path)  # which takes seconds to make; the registry's stays to be made
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"DVC_ROOT": str(tmp_path), "MLFLOW_REGISTRY_URI": f"sqlite:///{tmp_path / 'registry.db'}"}
    command = [sys.executable, "-c", "from fabnet.cli.main import main; main()", "lineage", "models:/fabnet/1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: models:/fabnet/1: no such version\n"
    assert {path.name for path in tmp_path.glob("*.db")} == {"mlflow.db", "registry.db"}


@pytest.mark.parametrize("uri", ["postgresql://person:secret@127.0.0.1:9/runs", "postgresql+psycopg://h@127.0.0.1:9/r"])
def test_a_database_server_that_is_not_there_is_one_line_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], uri: str
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    began = time.monotonic()
    assert command(["track", "sync"], monkeypatch) == 1
    assert time.monotonic() - began < 20
    (line,) = capfd.readouterr().err.splitlines()
    assert "no connection to 127.0.0.1:9" in line
    assert "secret" not in line


def test_a_command_on_a_silent_server_is_one_line(
    root: Path, silent: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    began = time.monotonic()
    assert command(["track", "sync"], monkeypatch) == 1
    assert time.monotonic() - began < 20
    (line,) = capfd.readouterr().err.splitlines()
    assert "the tracking store failed" in line
    assert "secret" not in line


def test_what_a_dead_server_costs_is_bounded_by_default(root: Path):
    open_store()
    assert mlflow.environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 20
    assert mlflow.environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 1


def test_a_command_on_a_locked_database_is_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(store_module, "_BUSY_S", 0.2)
    with locked(root / "mlflow.db"):
        assert command(["track", "sync"], monkeypatch) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "mlflow.db: the tracking store failed: database is locked; is it running, free of other writers" in line


def test_registering_on_a_full_disk_is_one_line_and_is_done_when_there_is_room(root: Path):
    open_store()  # the experiment
    weights = (root / "models/fabnet/best.pt").stat().st_size
    with files_of_at_most(weights - 1), pytest.raises(UserError) as caught:
        register("fabnet")
    assert "\n" not in str(caught.value)
    assert "its disk not full?" in str(caught.value)
    assert aliases(root) == {}
    assert register("fabnet").alias == CHALLENGER
    assert aliases(root) == {CHALLENGER: "1"}


# -- stages ---------------------------------------------------------------------------------------------------------


def warned(capfd: pytest.CaptureFixture[str]) -> str:
    (line,) = capfd.readouterr().err.splitlines()
    prefix = "warning: MLflow tracking failed, the stage goes on without it: "
    assert line.startswith(prefix)
    return line.removeprefix(prefix)


def test_a_stage_goes_on_without_a_silent_server(
    root: Path, silent: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with run("train", "train@fabnet", {"a": 1}) as recorder:
        recorder.log_metrics({"loss": 1.0})
    assert "secret" not in warned(capfd)


def test_a_stage_goes_on_without_a_locked_database(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(store_module, "_BUSY_S", 0.2)
    with locked(root / "mlflow.db"), run("train", "train@fabnet", {"a": 1}) as recorder:
        recorder.log_metrics({"loss": 1.0})
    assert warned(capfd) == "database is locked"


def test_a_stage_goes_on_though_the_disk_of_the_database_is_full(root: Path, capfd: pytest.CaptureFixture[str]):
    with run("train", "train@fabnet", {"a": 1}) as recorder, files_of_at_most((root / "mlflow.db").stat().st_size):
        recorder.log_params({f"p{i}": "x" * 5000 for i in range(100)})
    assert "sqlite3.OperationalError" in warned(capfd)
    (found,) = tracked_project.MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").search_runs(["1"])
    assert found.info.status == "FINISHED"
    assert found.data.tags["fabnet.incomplete"] == "true"


def test_a_stage_goes_on_though_an_artifact_finds_no_room(root: Path, capfd: pytest.CaptureFixture[str]):
    large = root / "large.bin"
    large.write_bytes(bytes(8_000_000))
    with run("train", "train@fabnet", {"a": 1}) as recorder:
        with files_of_at_most(4_000_000):
            recorder.log_artifact(large)
        recorder.log_metrics({"loss": 1.0})
    assert f"Errno {errno.EFBIG}" in warned(capfd)


def test_a_database_that_could_not_be_made_leaves_nothing_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """MLflow cannot go on from half a schema, so half of one must not stay."""
    (root / "mlflow.db").unlink()
    before = sorted(path.name for path in root.iterdir())

    class Full:
        def __init__(self, tracking_uri: str) -> None:
            Path(tracking_uri.removeprefix("sqlite:///")).write_bytes(b"SQLite format 3\0 and half a schema")

        def search_experiments(self) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(mlflow, "MlflowClient", Full)
        with run("train", "train@fabnet", {}):
            pass
    assert warned(capfd) == "database or disk is full"
    assert sorted(path.name for path in root.iterdir()) == before


def test_what_a_killed_process_left_of_a_database_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in (".mlflow-abc123.db", ".mlflow-abc123.db-journal"):
        (tmp_path / name).write_bytes(b"half a schema")
    code = "import os, signal, mlflow\nfrom fabnet.tracking.store import open_store\n"
    code += "mlflow.MlflowClient = lambda tracking_uri: os.kill(os.getpid(), signal.SIGKILL)\nopen_store()"
    done = warm_process.run(["-c", code], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.match(".mlflow-*.db")
    assert left.name != ".mlflow-abc123.db"
    open_store()
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


# -- addresses ------------------------------------------------------------------------------------------------------


def test_only_servers_that_have_an_address_are_tried(monkeypatch: pytest.MonkeyPatch):
    for uri in ("sqlite:////tmp/absent/mlflow.db", "databricks", "file:///tmp"):
        check_reachable(uri)
    with pytest.raises(ConnectionError, match=r"no connection to 127\.0\.0\.1:9: "):
        check_reachable("http://127.0.0.1:9/prefix")
    with pytest.raises(ValueError, match="Port"):
        check_reachable("http://127.0.0.1:port")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_server_behind_a_proxy_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch, variable: str):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, "http://proxy.example:3128")
    check_reachable("http://127.0.0.1:9")  # the proxy knows
    with pytest.raises(ConnectionError):  # databases have none
        check_reachable("postgresql://127.0.0.1:9/runs")
    for network in ("127.0.0.1", "localhost,127.0.0.0/8"):
        monkeypatch.setenv("NO_PROXY", network)
        with pytest.raises(ConnectionError, match=r"no connection to 127\.0\.0\.1:9: "):
            check_reachable("http://127.0.0.1:9")


def test_a_password_is_not_told():
    uri = "postgresql://person:pass%20word@host:5432/runs"
    assert shown(uri) == "postgresql://host:5432/runs"
    error = OSError(f"cannot open\n  {uri}")
    assert without_password(error, uri, 300) == "cannot open postgresql://host:5432/runs"
    assert without_password(error, uri, 6) == "cannot"
    assert without_password(KeyboardInterrupt(), "sqlite:///x", 300) == "KeyboardInterrupt"
