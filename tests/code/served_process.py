"""`fabnet serve` as a process on a free port, which writes down what pickles ask for."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

START_S = 240.0  # 5 s on an idle machine
JSON = "application/json"

# Python runs a module of this name at its start: one that writes down what pickles ask for.
WATCH = """
import os, sys, traceback
def watch(event, arguments):
    if event == "pickle.find_class":
        with open(os.environ["PICKLE_LOG"], "a") as log:
            log.write(repr(arguments[1:]) + "".join(traceback.format_stack()) + "\\n")
sys.addaudithook(watch)
"""


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    log: Path
    root: Path

    def ask(
        self,
        body: bytes | str | None,
        kind: str | None = JSON,
        method: str = "POST",
        path: str = "/invocations",
        **headers: str,
    ) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"Content-Type": kind} if kind else {}
        try:
            connection.request(method, path, body, {**given, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def embeddings(self, body: bytes | str, kind: str = JSON) -> np.ndarray:
        status, text = self.ask(body, kind)
        assert status == 200, text
        return np.array([row["embedding"] for row in json.loads(text)["predictions"]])


def start(root: Path, *options: str, workers: int = 1) -> Running:
    """A server on a free port, as soon as all its workers take requests."""
    watch = root / "watch"
    watch.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(WATCH)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")},
        "DVC_ROOT": str(root),
        "PYTHONPATH": os.pathsep.join([str(watch), str(Path(__file__).parents[2])]),
        "PICKLE_LOG": str(root / "pickles"),
    }
    command = [sys.executable, "-c", "from fabnet.cli.main import main; main()", "serve", "models:/fabnet@challenger"]
    command += ["--port", "0", "--workers", str(workers), *options]
    log = root / f"serve-{workers}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, cwd=root, stdout=out, stderr=out, text=True)
    deadline = time.monotonic() + START_S
    while log.read_text().count(" is served at ") < workers:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"the server does not start: {log.read_text()}"
        time.sleep(0.1)
    return Running(process, int(log.read_text().partition("127.0.0.1:")[2].partition("/")[0]), log, root)


def stop(server: Running) -> int:
    server.process.terminate()
    try:
        return server.process.wait(30)
    finally:
        server.process.kill()
