"""Runs and registry over HTTP, on a real server that keeps the artifacts."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import tracked_project
from mlflow import MlflowClient

from fabnet.tracking import run
from fabnet.tracking import store as store_module
from fabnet.tracking.gate.rules import Gate, Gates
from fabnet.tracking.registry.chain import lineage
from fabnet.tracking.registry.promote import promote
from fabnet.tracking.registry.register import register
from fabnet.tracking.registry.versions import fetch
from fabnet.tracking.sync import sync
from fabnet.tracking.training_record import training_record

START_S = 180.0  # 7 s on an idle machine


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server with an empty database; its artifacts lie where clients cannot see them."""
    folder = tmp_path / "server"
    folder.mkdir()
    tracked_project.add_store(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "-w", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")),
        *("--allowed-hosts", f"127.0.0.1:{port}"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except (URLError, OSError):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def test_from_a_run_to_a_champion_over_http(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    root = tracked_project.make(tmp_path / "project")
    for variable in store_module._ENVIRONMENT:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root)

    record = training_record("models/fabnet")
    inputs = ["data/frames/index.parquet", "data/frames/crop.json", "data/splits.parquet"]
    with run("train", "train@fabnet", record.params, dependencies=inputs, outs=["models/fabnet"]) as recorder:
        recorder.log(record)
    found = MlflowClient(tracking_uri=server).get_run(str(recorder.run_id))
    assert found.info.status == "FINISHED"
    assert found.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert found.data.metrics["best_step"] == 3

    done = sync()
    assert (done.tied, done.rebuilt) == (["train@fabnet"], ["probe@synthetic"])
    assert sorted(sync().kept) == ["probe@synthetic", "train@fabnet"]

    assert register("fabnet").line() == "models:/fabnet/1: registered, challenger"
    assert register("fabnet").line() == "models:/fabnet/1: was registered already, challenger"
    gate = Gate(set="synthetic", metric="yaw_mae_deg", direction="lower", allowed_loss="1 %", floor=6)
    assert promote(Gates(encoder="fabnet", gates=(gate,))).champion == "models:/fabnet/1"
    assert [link.line() for link in lineage("models:/fabnet@champion") if link.broken] == []
    for _ in range(2):  # the second time from the copy that the first left
        model = fetch("models:/fabnet@champion")
        assert model.directory.is_relative_to(root / ".work")
        assert (model.directory / "best.pt").read_bytes() == (root / "models/fabnet/best.pt").read_bytes()
    assert capfd.readouterr().err == ""
