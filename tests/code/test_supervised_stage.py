"""The stage supervise, run as DVC runs it, on a tiny set."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import warm_process
import yaml
from labelled_faces import write_labelled_faces
from whole_sections import supervise_params

from fabnet.attributes.sets import open_set
from fabnet.config import SetParams
from fabnet.errors import ConfigError
from fabnet.files import read_json, write_json
from fabnet.probing.intervals import score
from fabnet.probing.predictions import encoders_and_probes, read_predictions, to_pixels
from fabnet.supervised.supervise import supervise
from fabnet.tracking.probing_record import supervised_record

ROOT = Path(__file__).parents[2]
COMMAND = [str(ROOT / "stages/supervise.py"), "tiny"]
# Tracking points nowhere: it costs a warning, which is not what is tested here.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


def project(path, **changed):
    labels = write_labelled_faces(path / "faces", identities=15, per_identity=4)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["sets"] = {"tiny": {"kind": "synthetic", "path": "faces"}}
    params["extract"]["image_size"] = 64
    params["supervise"] |= {
        "width": 4,
        "epochs": 2,
        "batch_size": 16,
        "seeds": 2,
        "image_size": 32,
        "threads": 1,
    } | changed
    (path / "params.yaml").write_text(yaml.safe_dump(params))
    write_json(path / "reports/data/sets/tiny.json", {})
    return labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("project")
    labels = project(path)
    done = warm_process.run(COMMAND, cwd=path, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "supervise@tiny: 4/4 epoch (100 %)" in done.stderr
    return path, labels


def test_every_seed_predicts_every_test_face(trained):
    path, labels = trained
    out = path / "supervised/tiny"
    assert sorted(each.name for each in out.iterdir()) == ["model.json", "predictions.parquet"]
    assert encoders_and_probes(out / "predictions.parquet") == [("vgg11", "supervised")]
    table = read_predictions(out / "predictions.parquet")
    test = set(labels.loc[labels["split"] == "test", "face_id"])
    for (_, seed), part in table.groupby(["task", "seed"]):
        assert seed in (0, 1)
        assert set(part["face_id"]) == test
    assert table["task"].nunique() == 5
    assert np.isfinite(list(score(table, 100, 0)["yaw_mae_deg"].values())).all()


def test_points_are_in_pixels_of_the_crops_of_all_encoders(trained):
    path, labels = trained
    table = read_predictions(path / "supervised/tiny/predictions.parquet")
    row = table[table["task"] == "landmarks68"].iloc[0]
    face = labels.set_index("face_id").loc[row["face_id"]]
    wanted = to_pixels(np.array(face["landmarks68"]) / 32 * 2 - 1, 64)
    np.testing.assert_allclose(np.array(row["target"]), wanted, rtol=1e-4)


def test_the_card_tells_what_was_chosen(trained):
    path, labels = trained
    card = read_json(path / "supervised/tiny/model.json")
    assert (card["encoder"], card["set"], card["image_size"]) == ("vgg11", "tiny", 32)
    assert card["faces"] == labels["split"].value_counts().to_dict()
    for task, chosen in card["chosen"].items():
        for seed in (0, 1):
            by_epoch = [abs(point[task]) for point in card["history"][seed]]
            assert chosen["validation"][seed] == by_epoch[chosen["epochs"][seed] - 1]


def test_the_run_can_be_rebuilt_from_the_outputs(trained):
    path, _ = trained
    record = supervised_record("tiny", path / "supervised/tiny", {"width": 4})
    assert record.params == {"set": "tiny", "width": 4}
    assert list(record.inputs) == ["reports/data/sets/tiny.json"]
    assert "vgg11/yaw_mae_deg" in record.metrics
    history = read_json(path / "supervised/tiny/model.json")["history"]
    assert ("seed1/loss", history[1][1]["loss"], 2) in record.history
    assert ("seed0/units", abs(history[0][0]["units"]), 1) in record.history


def test_nothing_resumable_is_left(trained):
    assert not (trained[0] / ".work/supervise/tiny").exists()


def test_sigterm_leaves_nothing_half_written(tmp_path):
    project(tmp_path, epochs=100_000, seeds=1)
    python = warm_process.folder() / "python"
    process = subprocess.Popen([python, *COMMAND], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("supervise@tiny: "):
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 143, rest
    assert "Traceback" not in rest
    assert [each for each in tmp_path.rglob("*") if each.is_file() and "supervised" in each.parts] == []


def test_crops_too_small_are_one_clear_line(trained):
    path, _ = trained
    labelled = open_set("tiny", SetParams(kind="synthetic", path=path / "faces"))
    params = supervise_params(width=4, epochs=1, batch_size=16, learning_rate=0.001)
    with pytest.raises(
        ConfigError, match=r"supervise.image_size: VGG-11 needs crops of 32 px, and extract.image_size is 16"
    ):
        supervise("tiny", labelled, params, 16, path / "never", path / ".work/never")
    assert not (path / "never").exists()
