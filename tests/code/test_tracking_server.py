"""Runs and registry over HTTP, on a real server that keeps the artifacts: `make mlflow-server`."""

import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import tracked_project
import warm_process
from mlflow import MlflowClient
from servers import Server, postgresql, running

from fabnet.errors import UserError
from fabnet.tracking import run
from fabnet.tracking import store as store_module
from fabnet.tracking.gate.rules import Gate, Gates
from fabnet.tracking.record import training_record
from fabnet.tracking.registry import package
from fabnet.tracking.registry.chain import lineage
from fabnet.tracking.registry.lifecycle import promote, register
from fabnet.tracking.registry.versions import CHALLENGER, CHAMPION, NAME, fetch
from fabnet.tracking.sync import sync

pytestmark = pytest.mark.usefixtures("blank_figures")

RULES = Gates(
    encoder="fabnet",
    gates=(Gate(set="synthetic", metric="yaw_mae_deg", direction="lower", allowed_loss="1 %", floor=6),),
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, in use."""
    root = tracked_project.make(tmp_path / "project")
    for variable in ("MLFLOW_EXPERIMENT_NAME", *store_module._ENVIRONMENT):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root)
    return root


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, root: Path, tmp_path: Path, monkeypatch) -> Iterator[Server]:
    """A server with an empty database, which the project uses."""
    folder = tmp_path / "server"
    folder.mkdir()
    if request.param == "sqlite":
        tracked_project.add_store(folder)
    kept = postgresql() if request.param == "postgresql" else nullcontext(f"sqlite:///{folder}/mlflow.db")
    with kept as database, running(database, folder) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        yield server


def status(address: str, host: str) -> int:
    """What the server answers to one who calls it `host`."""
    query = Request(f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Host": host})
    try:
        with urlopen(query, timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def little_code(staged: Path) -> Path:
    """In place of the package, whose two hundred files take longer over HTTP than all else; nothing is served here."""
    (staged / "fabnet").mkdir()
    (staged / "fabnet/__init__.py").touch()
    return staged / "fabnet"


def test_from_a_run_to_a_champion_over_http(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(package, "_code", little_code)
    record = training_record("models/fabnet")
    inputs = ["data/frames/index.parquet", "data/frames/crop.json", "data/splits.parquet"]
    with run("train", "train@fabnet", record.params, dependencies=inputs, outs=["models/fabnet"]) as recorder:
        recorder.log(record)
    client = MlflowClient(tracking_uri=server.address)
    found = client.get_run(str(recorder.run_id))
    assert found.info.status == "FINISHED"
    assert found.data.params["samples"] == "48"
    assert found.data.metrics["best_step"] == 3
    losses = client.get_metric_history(found.info.run_id, "train_loss")
    assert sorted((point.step, point.value) for point in losses) == [(1, 1), (2, 0.5), (3, 1 / 3)]
    # Artifacts went through the server to where it keeps them, and come back the same way.
    assert found.info.artifact_uri.startswith("mlflow-artifacts:/")
    (kept,) = server.artifacts.rglob(f"{found.info.run_id}/artifacts/model.json")
    assert kept.read_bytes() == (root / "models/fabnet/model.json").read_bytes()
    names = {entry.path for entry in client.list_artifacts(found.info.run_id)}
    assert names == {"learning_curve.png", "model.json"}
    assert Path(client.download_artifacts(found.info.run_id, "model.json")).read_bytes() == kept.read_bytes()
    assert not (root / "mlartifacts").exists()

    done = sync()
    assert (done.tied, done.rebuilt) == (["train@fabnet"], ["probe@synthetic"])
    assert sorted(sync().kept) == ["probe@synthetic", "train@fabnet"]

    assert register("fabnet").line() == "models:/fabnet/1: registered, challenger"
    assert register("fabnet").line() == "models:/fabnet/1: was registered already, challenger"
    assert client.get_registered_model(NAME).aliases == {CHALLENGER: "1"}
    assert promote(RULES).champion == "models:/fabnet/1"
    assert client.get_registered_model(NAME).aliases == {CHAMPION: "1"}
    assert [link.line() for link in lineage("models:/fabnet@champion") if link.broken] == []
    for _ in range(2):  # the second time from the copy that the first left
        model = fetch("models:/fabnet@champion")
        assert model.directory.is_relative_to(root / ".work")
        assert (model.directory / "best.pt").read_bytes() == (root / "models/fabnet/best.pt").read_bytes()

    (weights,) = server.artifacts.rglob("registered/*/artifacts/model/best.pt")
    weights.unlink()
    shutil.rmtree(root / ".work/registry")
    with pytest.raises(UserError, match=r"models:/fabnet/1: incomplete: artifacts/model/best.pt is missing"):
        fetch("models:/fabnet@champion")
    assert [line for line in capfd.readouterr().err.splitlines() if not line.startswith("fabnet: ")] == []

    # Only names that it was told of, whatever address they lead to.
    assert status(server.address, f"localhost:{server.port}") == 200
    assert status(server.address, f"attacker.example:{server.port}") == 403
    assert status(server.address, "192.168.0.1") == 403


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_runs_that_start_together_and_a_server_that_is_killed(
    server: Server, root: Path, capfd: pytest.CaptureFixture[str]
):
    code = "from fabnet.tracking import run\nwith run('train', 'train@x', {'a': 1}) as r: r.log_metrics({'loss': 1.0})"
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: warm_process.run(["-c", code], cwd=root), range(2)))
    assert [(process.returncode, process.stderr) for process in ended] == [(0, ""), (0, "")]
    client = MlflowClient(tracking_uri=server.address)
    experiment = client.get_experiment_by_name("fabnet").experiment_id
    assert [each.info.status for each in client.search_runs([experiment])] == ["FINISHED"] * 2

    record = training_record("models/fabnet")
    with run("train", "train@fabnet", record.params, outs=["models/fabnet"]) as recorder:
        server.stop(signal.SIGKILL)
        began = time.monotonic()
        recorder.log(record)
    assert time.monotonic() - began < 30
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: MLflow tracking failed, the stage goes on without it: ")
    with pytest.raises(UserError, match=r"no connection to 127\.0\.0\.1"):
        sync()

    server.start()
    assert sorted(sync().rebuilt) == ["probe@synthetic", "train@fabnet"]
    assert client.get_run(str(recorder.run_id)).info.status == "RUNNING"  # of this process, which lives
