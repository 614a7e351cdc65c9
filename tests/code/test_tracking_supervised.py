"""The run of a supervise stage: as the stage leaves it, and as `fabnet track sync` rebuilds it."""

from pathlib import Path

import pytest
import tracked_project
import yaml
from mlflow import MlflowClient
from whole_sections import supervise_params

from fabnet.files import write_json
from fabnet.probing.predictions import open_writer
from fabnet.tracking import run
from fabnet.tracking import store as store_module
from fabnet.tracking.lineage import output_hash
from fabnet.tracking.probing_record import supervised_record
from fabnet.tracking.sync import sync

pytestmark = pytest.mark.usefixtures("blank_figures")

NAME, OUT = "supervise@synthetic", Path("supervised/synthetic")
PARAMS = supervise_params(width=4, epochs=2, batch_size=16, learning_rate=0.001)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *store_module._ENVIRONMENT):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    tracked_project.make(tmp_path)
    tracked_project.add_store(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / OUT).mkdir(parents=True)
    with open_writer(OUT / "predictions.parquet") as writer:
        writer.add(tracked_project.predictions("vgg11", 0, 0.5))
    history = [{"epoch": 1, "loss": 4.0, "units": -60.0}, {"epoch": 2, "loss": 3.0, "units": -70.0}]
    write_json(OUT / "model.json", {"encoder": "vgg11", "history": [history]})
    write_json(tmp_path / "reports/data/sets/synthetic.json", {"faces": 120})
    lock = yaml.safe_load((tmp_path / "dvc.lock").read_text())
    # DVC leaves out what was null.
    kept = {key: value for key, value in PARAMS.model_dump().items() if value is not None}
    lock["stages"][NAME] = {
        "cmd": "python",
        "params": {"params.yaml": {"supervise": kept}},
        "outs": [{"path": str(OUT), "hash": "md5", "md5": output_hash(OUT)}],
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    return tmp_path


def the_run(root: Path):
    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fabnet")
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`dvc.stage` = '{NAME}'")
    return client, found


def live() -> None:
    """What stages/supervise.py does around its work."""
    params = PARAMS.model_dump()
    labels = [Path("reports/data/sets/synthetic.json")]
    with run("supervise", NAME, {"set": "synthetic", **params}, dependencies=labels, outs=[OUT]) as recorder:
        recorder.log(supervised_record("synthetic", OUT, params))


def test_the_run_that_the_stage_left_is_tied(root: Path):
    live()
    assert NAME in sync().tied
    assert NAME in sync().kept


def test_a_rebuilt_run_is_like_the_one_that_the_stage_leaves(root: Path):
    assert NAME in sync().rebuilt
    client, rebuilt = the_run(root)
    assert rebuilt.info.status == "FINISHED"
    points = client.get_metric_history(rebuilt.info.run_id, "seed0/units")
    assert [(point.step, point.value) for point in points] == [(1, 60), (2, 70)]
    client.delete_run(rebuilt.info.run_id)
    live()
    _, own = the_run(root)
    assert own.data.params == rebuilt.data.params
    assert own.data.metrics == rebuilt.data.metrics
    assert "vgg11/yaw_mae_deg" in own.data.metrics
    assert own.data.tags["pipeline.id"] == rebuilt.data.tags["pipeline.id"]
