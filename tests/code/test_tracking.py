import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fabnet.tracking import run
from fabnet.tracking import store as store_module
from fabnet.tracking.runs import MAX_PARAM_LENGTH, flatten
from fabnet.tracking.store import open_store

DEAD_SERVER = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema, which takes seconds to create."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def _environment_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *store_module._ENVIRONMENT):
        monkeypatch.setenv(variable, "")  # so that what the code sets is undone after the test
        monkeypatch.delenv(variable)


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """The default store of a project whose root is `tmp_path`."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def only_run(client: MlflowClient):
    experiment = client.get_experiment_by_name("fabnet")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    return found


def test_a_run_holds_params_metrics_tags_and_figure(store: MlflowClient, tmp_path: Path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, 1])
    data = tmp_path / "index.parquet"
    data.write_bytes(b"rows")
    params = {
        "train": {"samples": 64, "flip": True, "optimiser": "adam"},
        "alphas": [1, 10],
        "boxes": None,
        "empty": {},
    }
    with run("train", "train@fabnet", params, tags={"recipe.hash": "abc"}, dependencies=[data]) as recorder:
        recorder.log_metrics({"yaw_mae_deg": 7.5})
        recorder.log_history([("loss", 0.5, 1), ("loss", 0.25, 2)])
        recorder.log_figure("curves/loss.png", figure)
        recorder.log_artifact(data, "data")
        recorder.set_tags({"weights.sha256": "def"})

    found = only_run(store)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "train@fabnet"
    assert found.data.params == {
        "train.samples": "64",
        "train.flip": "true",
        "train.optimiser": "adam",
        "alphas": "[1, 10]",
        "boxes": "null",
        "empty": "{}",
    }
    assert found.data.metrics == {"yaw_mae_deg": 7.5, "loss": 0.25}
    assert [(p.step, p.value) for p in store.get_metric_history(found.info.run_id, "loss")] == [(1, 0.5), (2, 0.25)]
    expected = {"dvc.stage": "train@fabnet", "fabnet.stage": "train", "recipe.hash": "abc", "weights.sha256": "def"}
    assert expected.items() <= found.data.tags.items()
    assert {"pipeline.id", "git.commit", "git.dirty", "fabnet.version"} <= found.data.tags.keys()
    artifacts = tmp_path / "mlartifacts" / found.info.run_id / "artifacts"
    assert (artifacts / "curves/loss.png").read_bytes().startswith(b"\x89PNG")
    assert (artifacts / "data/index.parquet").read_bytes() == b"rows"


def test_history_goes_out_in_few_batches(store: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    log_batch = MlflowClient.log_batch

    def counting(self, run_id, metrics=(), **others):
        sizes.append(len(metrics))
        return log_batch(self, run_id, metrics=metrics, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", counting)
    with run("train", "train@fabnet", {}) as recorder:
        sizes.clear()
        recorder.log_history(("loss", 1 / step, step) for step in range(1, 3001))
    assert sizes == [1000, 1000, 1000]
    history = store.get_metric_history(only_run(store).info.run_id, "loss")
    assert sorted((point.step, point.value) for point in history) == [(step, 1 / step) for step in range(1, 3001)]


def test_long_params_are_cut_and_many_are_split(store: MlflowClient):
    params = {"long": "x" * 10_000} | {f"p{i}": i for i in range(250)}
    with run("train", "train@fabnet", params):
        pass
    logged = only_run(store).data.params
    assert len(logged) == 251
    assert logged["long"] == "x" * (MAX_PARAM_LENGTH - 1) + "…"


def test_keys_that_mlflow_refuses_do_not_lose_the_run(store: MlflowClient, capsys: pytest.CaptureFixture[str]):
    with run("probe", "probe@synthetic", {}) as recorder:
        recorder.log_metrics({"fabnet@synthetic": 1.0})
    assert only_run(store).data.metrics == {"fabnet_synthetic": 1.0}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("boom"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED")],
)
def test_what_the_body_raises_passes_through_and_marks_the_run(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
):
    ends: list[str] = []
    set_terminated = MlflowClient.set_terminated

    def counting(client: MlflowClient, run_id: str, status: str) -> None:
        ends.append(status)
        set_terminated(client, run_id, status)

    monkeypatch.setattr(MlflowClient, "set_terminated", counting)
    with pytest.raises(type(error)) as caught, run("train", "train@fabnet", {}):
        raise error
    assert caught.value is error
    assert ends == [status]
    assert only_run(store).info.status == status


def test_inherited_run_id_does_not_merge_runs(store: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    with run("train", "train@fabnet", {}) as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", str(first.run_id))
    with run("train", "train@autoencoder", {}) as second:
        pass
    assert first.run_id != second.run_id
    assert store.get_run(str(first.run_id)).info.run_name == "train@fabnet"


def test_dead_server_costs_one_warning(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD_SERVER)
    done = False
    with run("train", "train@fabnet", {"a": 1}) as recorder:
        recorder.log_metrics({"loss": 1.0})
        done = True
    assert done
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: MLflow tracking failed")
    assert "127.0.0.1" in line


def test_dead_server_does_not_hide_the_error_of_the_body(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD_SERVER)
    with pytest.raises(ZeroDivisionError), run("train", "train@fabnet", {}):
        _ = 1 / 0


def test_failure_in_the_middle_costs_one_warning(
    store: MlflowClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with run("train", "train@fabnet", {}) as recorder:
        recorder.log_metrics({"loss": 1.0})
        (tmp_path / "mlflow.db").write_bytes(b"no database")
        recorder.log_metrics({"loss": 0.5})
        recorder.set_tags({"a": "b"})
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: MLflow tracking failed")


def test_a_run_that_lost_an_artifact_is_closed_and_marked(
    store: MlflowClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with run("train", "train@fabnet", {}) as recorder:
        recorder.log_artifact(tmp_path / "absent.txt")
    assert len(capfd.readouterr().err.splitlines()) == 1
    found = only_run(store)
    assert found.info.status == "FINISHED"
    assert found.data.tags["fabnet.incomplete"] == "true"


def test_database_that_cannot_be_opened_costs_one_warning_and_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "mlflow.db").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    started = time.monotonic()
    with run("train", "train@fabnet", {}) as recorder:
        recorder.log_metrics({"loss": 1.0})
    assert time.monotonic() - started < 10
    assert recorder.run_id is None
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "warning: MLflow tracking failed, the stage goes on without it: unable to open database file"


def test_store_is_opened_by_one_process_at_a_time(store: MlflowClient, tmp_path: Path):
    opened = threading.Event()

    def open_it() -> None:
        open_store()
        opened.set()

    with store_module._locked(tmp_path):
        thread = threading.Thread(target=open_it)
        thread.start()
        assert not opened.wait(0.5)
    thread.join(20)
    assert opened.is_set()


def test_telemetry_is_off_and_importing_tracking_imports_no_mlflow():
    import subprocess

    code = "import sys, os, fabnet.tracking; print('mlflow' in sys.modules, 'MLFLOW_DISABLE_TELEMETRY' in os.environ)"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", "False"]


def test_telemetry_is_disabled_by_opening_the_store(store: MlflowClient):
    open_store()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_flatten():
    assert dict(flatten({"a": {"b": {"c": 1}}, "d": "text"})) == {"a.b.c": "1", "d": "text"}
