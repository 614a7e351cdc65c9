"""A real tracking server as `make mlflow-server` starts it, and a PostgreSQL for it to keep runs in."""

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 240.0  # a start takes 7 s on an idle machine with tables, 15 s without


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A server process, its address, and the folder of its artifacts."""

    def __init__(self, database: str, folder: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.artifacts = folder / "artifacts"
        self._log = folder / "log"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_BACKEND_STORE_URI": database,
            "MLFLOW_ARTIFACTS_DESTINATION": str(self.artifacts),
        }
        self.start()

    def start(self) -> None:
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # The environment of the test, and not the one that make would first bring up to date.
        command = ["make", "--silent", "--old-file=.venv/.stamp", f"PATH={binaries}", "mlflow-server"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + WAIT_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"the server does not start: {self._log.read_text()}"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            urlopen(f"{self.address}/health", timeout=2).close()
        except (URLError, OSError):
            return False
        return True

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> None:
        """End the server and the processes it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, kind)
            self._process.wait(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while _listens(self.port):  # what make has started ends after it
            assert time.monotonic() < deadline, "the server is still there"
            time.sleep(0.1)


@contextmanager
def running(database: str, folder: Path) -> Iterator[Server]:
    server = Server(database, folder)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL, with a password, of an empty database. Skips where no PostgreSQL is installed."""
    pytest.importorskip("psycopg")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb = shutil.which("initdb", path=os.pathsep.join([os.environ["PATH"], *map(str, places)]))
    if initdb is None:
        pytest.skip("no PostgreSQL is installed")
    binaries = Path(initdb).resolve().parent
    user = None  # PostgreSQL does not run as root
    if getpass.getuser() == "root":
        user = "postgres"
        if user not in {entry.pw_name for entry in pwd.getpwall()}:
            pytest.skip("PostgreSQL does not run as root, and there is no user `postgres`")
    folder = Path(tempfile.mkdtemp(prefix="fabnet-postgresql-"))  # not below pytest's folders, which are private
    try:
        (folder / "password").write_text("pass word/1\n")
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        data, port = folder / "data", free_port()
        made = [binaries / "initdb", "--pgdata", data, "--username=fabnet", f"--pwfile={folder / 'password'}"]
        options = ["--auth=scram-sha-256", "--no-locale", "--encoding=UTF8", "--no-sync"]
        subprocess.run([*made, *options], check=True, capture_output=True, user=user, cwd=folder)
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off")
        command = [binaries / "postgres", "-D", data, "-p", str(port), *(part for s in settings for part in ("-c", s))]
        process = subprocess.Popen(
            command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w")
        )
        try:
            _wait(process, port, folder / "log")
            yield f"postgresql://fabnet:pass%20word%2F1@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # ends without waiting for clients
            process.wait(WAIT_S)
    finally:
        shutil.rmtree(folder)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        if _listens(port):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "PostgreSQL does not start"
        time.sleep(0.1)
