"""`fabnet track sync`, the reaper, and what else keeps runs and dvc.lock together."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tracked_project
import warm_process
from mlflow import MlflowClient

from fabnet.errors import UserError
from fabnet.tracking import run
from fabnet.tracking import store as store_module
from fabnet.tracking.lineage import parse_lock, read_lock
from fabnet.tracking.record import training_record
from fabnet.tracking.runs import OUTS, PROCESS, Recorder, is_gone, this_process
from fabnet.tracking.store import required_store
from fabnet.tracking.sync import INCOMPLETE, LOCK, REBUILT, sync

pytestmark = pytest.mark.usefixtures("blank_figures")

NAMES = ["probe@synthetic", "train@fabnet"]


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *store_module._ENVIRONMENT):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tracked_project.make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project with an empty store."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    tracked_project.add_store(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


def runs(root: Path) -> list:
    client = client_of(root)
    experiment = client.get_experiment_by_name("fabnet")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    return sorted(found, key=lambda each: (each.info.run_name, each.info.start_time))


def train_live(root: Path) -> str:
    """What stages/train.py does after training."""
    record = training_record(Path("models/fabnet"))
    inputs = ["data/frames/index.parquet", "data/frames/crop.json", "data/splits.parquet"]
    with run("train", "train@fabnet", record.params, dependencies=inputs, outs=["models/fabnet"]) as recorder:
        recorder.log(record)
    return str(recorder.run_id)


def content(root: Path) -> list[str]:
    """All rows of the database."""
    with sqlite3.connect(root / "mlflow.db") as database:
        return sorted(database.iterdump())


def test_a_lost_database_is_rebuilt_and_a_second_sync_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch):
    train_live(root)
    (before,) = runs(root)
    history = client_of(root).get_metric_history(before.info.run_id, "train_loss")

    # MLflow keeps files open that it has once opened, so the project moves before its database is deleted.
    root = root.rename(root.with_name("moved"))
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root)
    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlartifacts")
    tracked_project.add_store(root)
    done = sync()
    assert sorted(done.rebuilt) == NAMES
    probing, training = runs(root)
    assert (training.info.status, probing.info.status) == ("FINISHED", "FINISHED")
    assert training.data.params == before.data.params
    assert training.data.metrics == before.data.metrics
    again = client_of(root).get_metric_history(training.info.run_id, "train_loss")
    assert [(p.step, p.value) for p in again] == [(p.step, p.value) for p in history] == [(1, 1), (2, 0.5), (3, 1 / 3)]
    same = ("pipeline.id", "dvc.stage", "fabnet.stage", "weights.sha256", "recipe.hash", OUTS)
    assert {key: training.data.tags[key] for key in same} == {key: before.data.tags[key] for key in same}
    assert training.data.tags[REBUILT] == "true"
    assert training.data.tags["git.commit"] == tracked_project.git(root, "rev-parse", "HEAD")
    assert [(d.dataset.name, d.dataset.digest) for d in training.inputs.dataset_inputs] == [
        (d.dataset.name, d.dataset.digest) for d in before.inputs.dataset_inputs
    ]
    artifacts = root / "mlartifacts" / training.info.run_id / "artifacts"
    assert sorted(path.name for path in artifacts.iterdir()) == ["learning_curve.png", "model.json"]
    scores = json.loads((root / "metrics.json").read_text())["synthetic"]["fabnet"]
    assert probing.data.metrics["fabnet/yaw_mae_deg"] == pytest.approx(scores["yaw_mae_deg"]["value"])
    assert probing.data.params["encoders"] == "fabnet,hog"
    assert probing.data.params["epochs"] == "5"
    figures = root / "mlartifacts" / probing.info.run_id / "artifacts"
    assert sorted(path.name for path in figures.iterdir()) == ["choices.json", "pose_fabnet.png", "pose_hog.png"]

    everything = content(root)
    second = sync()
    assert (second.rebuilt, second.tied, sorted(second.kept)) == ([], [], NAMES)
    assert content(root) == everything


def test_the_run_that_the_stage_left_is_tied_and_not_doubled(root: Path):
    live = train_live(root)
    done = sync()
    assert (done.tied, done.rebuilt) == (["train@fabnet"], ["probe@synthetic"])
    assert [each.info.run_name for each in runs(root)] == NAMES
    tags = client_of(root).get_run(live).data.tags
    assert tags[LOCK] == read_lock(root)["train@fabnet"].id
    assert REBUILT not in tags


def test_a_run_with_gaps_is_not_taken(root: Path):
    client_of(root).set_tag(train_live(root), INCOMPLETE, "true")
    assert sorted(sync().rebuilt) == NAMES


def test_another_entry_of_the_lock_gets_a_run_of_its_own(root: Path):
    train_live(root)
    sync()
    tracked_project.make(root, seed=1)
    done = sync()
    assert sorted(done.rebuilt) == NAMES
    assert len(runs(root)) == 4


def test_outputs_that_are_not_those_of_the_lock_are_not_told_of(root: Path):
    (root / "models/fabnet/model.json").write_text("{}")
    shutil.rmtree(root / "probes")
    done = sync()
    assert runs(root) == []
    assert set(done.skipped) == set(NAMES)
    assert any("models/fabnet is absent or not as in dvc.lock; run `dvc checkout`" in line for line in done.lines())


def test_a_variant_that_goes_on_from_another_is_known_by_its_weights_too(root: Path):
    """As stages/train.py tells it, so that a run and its rebuilding have one pipeline.id."""
    path = root / "models/fabnet/model.json"
    card = json.loads(path.read_text())
    before = training_record("models/fabnet").inputs
    card["params"]["start_from"], card["inputs"]["start_from"] = "plain", "abc"
    path.write_text(json.dumps(card))
    assert training_record("models/fabnet").inputs == {**before, "models/plain/best.pt": "abc"}


def test_sync_that_is_killed_is_closed_and_done_again(root: Path):
    code = (
        "import os, signal, fabnet.tracking.runs as r, fabnet.tracking.sync as s\n"
        "r.Recorder.log_figure = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "s.sync()"
    )
    done = warm_process.run(["-c", code], cwd=root)
    assert done.returncode == -signal.SIGKILL
    assert [each.info.status for each in runs(root)] == ["RUNNING"]
    after = sync()
    assert len(after.closed) == 1
    assert sorted(after.rebuilt) == NAMES
    assert sorted(each.info.status for each in runs(root)) == ["FINISHED", "FINISHED", "KILLED"]
    assert sorted(sync().kept) == NAMES


def test_no_lock_and_no_store_are_one_line(root: Path, monkeypatch: pytest.MonkeyPatch):
    (root / "dvc.lock").write_text("stages: [1]")
    with pytest.raises(UserError, match="not a lock of DVC"):
        sync()
    (root / "dvc.lock").unlink()
    with pytest.raises(UserError, match="run `make repro`"):
        sync()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://person:secret@127.0.0.1:9")
    with pytest.raises(UserError) as caught:
        sync()
    assert str(caught.value).startswith("http://127.0.0.1:9: the tracking store failed")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}")
    with pytest.raises(UserError, match="unable to open database file"):
        sync()


def test_a_locked_database_is_one_line(root: Path):
    # MLflow waits for 20 s before it gives up; the error that it then raises is what counts here.
    with pytest.raises(UserError, match=r"mlflow.db: the tracking store failed: database is locked"), required_store():
        raise sqlite3.OperationalError("database is locked")
    with pytest.raises(ZeroDivisionError), required_store():
        _ = 1 / 0


# -- the reaper -----------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_its_start():
    mine = this_process()
    host, pid, started = mine.split(" ")
    assert host == socket.gethostname()
    assert not is_gone(mine)
    assert is_gone(f"{host} {pid} {float(started) - 100}")  # another process had this pid
    assert not is_gone(f"elsewhere {pid} {float(started) - 100}")
    assert not is_gone("")
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    assert is_gone(f"{host} {ended.stdout.strip()} {time.time()}")


def test_a_killed_stage_is_closed_by_the_next(root: Path):
    code = (
        "import os, signal\n"
        "from fabnet.tracking import run\n"
        "with run('train', 'train@fabnet', {}): os.kill(os.getpid(), signal.SIGKILL)"
    )
    warm_process.run(["-c", code], cwd=root)
    (killed,) = runs(root)
    assert killed.info.status == "RUNNING"
    with run("probe", "probe@synthetic", {}) as alive:
        client = client_of(root)
        assert client.get_run(killed.info.run_id).info.status == "KILLED"
        assert client.get_run(killed.info.run_id).data.tags["fabnet.reaped"] == "true"
        sync()
        assert client.get_run(str(alive.run_id)).info.status == "RUNNING"
        client.set_tag(str(alive.run_id), PROCESS, "elsewhere 1 1.0")
        sync()
        assert client.get_run(str(alive.run_id)).info.status == "RUNNING"


# -- what a run holds besides ---------------------------------------------------------------------------------------


def test_load_of_the_machine_is_logged(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with run("train", "train@fabnet", {}):
        time.sleep(0.6)
    (found,) = runs(root)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= found.data.metrics.keys()


def test_a_dependency_or_output_that_is_absent_costs_one_warning(root: Path, capfd: pytest.CaptureFixture[str]):
    with run("train", "train@fabnet", {}, dependencies=["absent"]) as recorder:
        recorder.log_metrics({"loss": 1.0})
    assert recorder.run_id is None
    with run("train", "train@fabnet", {}, outs=["absent"]) as recorder:
        recorder.log_metrics({"loss": 1.0})
    assert isinstance(recorder, Recorder)
    assert len(capfd.readouterr().err.splitlines()) == 2
    assert runs(root)[0].info.status == "FINISHED"


def test_two_pipelines_that_start_together_on_a_missing_database_both_succeed(tmp_path: Path):
    code = "from fabnet.tracking import run\nwith run('train', 'train@x', {'a': 1}) as r: r.log_metrics({'loss': 1.0})"
    environment = {**os.environ, "DVC_ROOT": str(tmp_path)}
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: warm_process.run(["-c", code], cwd=tmp_path, env=environment), range(2)))
    assert [(process.returncode, process.stderr) for process in ended] == [(0, "")] * 2
    assert [(each.info.status, each.data.metrics["loss"]) for each in runs(tmp_path)] == [("FINISHED", 1.0)] * 2


def test_lock_is_read_by_name():
    text = """
stages:
  train@a:
    cmd: x
    deps: [{path: d, hash: md5, md5: "1"}]
    params: {params.yaml: {train.common: {seed: 0}}, contracts.json: {A.version: 2}}
    outs: [{path: models/a, hash: md5, md5: 2.dir}]
"""
    (entry,) = parse_lock(text).values()
    assert (entry.kind, entry.key, entry.outs, entry.deps) == ("train", "a", {"models/a": "2.dir"}, {"d": "1"})
    assert entry.params == {"train.common": {"seed": 0}, "contracts.json: A.version": 2}
    assert parse_lock(text.replace("seed: 0", "seed: 1"))["train@a"].id != entry.id
    assert parse_lock("") == {}
