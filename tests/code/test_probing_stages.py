"""The stages baseline and probe, run as DVC runs them, on a tiny set."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import warm_process
import yaml
from labelled_faces import write_labelled_faces

from fabnet import tables
from fabnet.files import read_json, write_json
from fabnet.probing.embeddings import read_embeddings
from fabnet.probing.intervals import score
from fabnet.probing.predictions import encoders_and_probes, read_predictions, to_pixels
from fabnet.probing.readings import read_heads

ROOT = Path(__file__).parents[2]


def stage(folder, *arguments):
    # Tracking points nowhere: it costs a warning, which is not what is tested here.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    return warm_process.run([ROOT / "stages" / arguments[0], *arguments[1:]], cwd=folder, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("project")
    write_labelled_faces(path / "faces", identities=20, per_identity=8)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["sets"] = {"tiny": {"kind": "synthetic", "path": "faces"}}
    params["extract"]["image_size"] = 32
    params["train"]["common"] |= {"base_filters": 4, "embedding_dim": 16}
    params["probe"] |= {
        "epochs": 3,
        "seeds": 2,
        "logistic_cs": [0.01],
        "ridge_alphas": [100, 1000],
        "shares": [0.05, 0.1],
        "folds": {"below": 0, "count": 5, "repeats": 1},
    }
    params["report"]["bootstrap"] = 100
    (path / "params.yaml").write_text(yaml.safe_dump(params))
    return path


def as_if_trained(embeddings):
    """Features of an encoder `pixels` that says it has weights."""
    trained = embeddings / "trained/pixels"
    shutil.copytree(embeddings / "baselines/pca", trained)
    meta = read_json(trained / "meta.json")
    write_json(trained / "meta.json", meta | {"encoder": "pixels", "weights_sha256": "ab" * 32, "recipe_hash": "cd"})


@pytest.fixture(scope="module")
def probed(folder):
    for name in ("baseline.py", "probe.py"):
        done = stage(folder, name, "tiny")
        assert done.returncode == 0, done.stderr
        if name == "baseline.py":
            as_if_trained(folder / "embeddings/tiny")
    return folder / "probes" / "tiny"


def test_every_encoder_and_probe_predicts_every_test_face(probed):
    table = read_predictions(probed / "predictions.parquet")
    pairs = {(e, p) for e in ("constant", "random", "pca", "hog", "pixels") for p in ("regularised", "paper")}
    assert set(encoders_and_probes(probed / "predictions.parquet")) == pairs
    counts = table.groupby(["encoder", "probe", "task", "seed"])["face_id"].nunique()
    assert (counts == 4 * 8).all()
    assert len(counts) == 5 * (4 * (2 + 1) + 2)


def test_predictions_score_and_beat_the_constant_where_pixels_tell(probed):
    scores = {
        encoder: score(read_predictions(probed / "predictions.parquet", encoder, "regularised"), 100, 0)
        for encoder in ("constant", "pca", "hog")
    }
    # Faces are discs whose place is the pose.
    assert scores["hog"]["yaw_mae_deg"]["high"] < scores["constant"]["yaw_mae_deg"]["low"]
    assert scores["pca"]["yaw_mae_deg"]["value"] < scores["constant"]["yaw_mae_deg"]["value"]
    assert scores["constant"]["units_auc"]["value"] == 50
    assert all(np.isfinite(list(values.values())).all() for each in scores.values() for values in each.values())


def test_choices_are_recorded(probed):
    choices = read_json(probed / "choices.json")
    assert set(choices) == {"absent", "low_label", "protocol", "random", "pca", "hog", "pixels"}
    assert {share: told["faces"] for share, told in choices["low_label"].items()} == {"0.05": 5, "0.1": 10}
    assert choices["pca"]["regularised"]["pose"]["penalty"] in (100, 1000)
    assert len(choices["pca"]["paper"]["units"]["epochs"]) == 2


def test_curves_with_few_labels_are_whole(probed):
    """Every encoder, share and metric, whose last point is the main result."""
    table = tables.read(probed / "low_label.parquet", tables.LowLabel)
    assert set(table["encoder"]) == {"constant", "random", "pca", "hog", "pixels"}
    assert table.groupby("share")["faces"].unique().map(list).to_dict() == {0.05: [5], 0.1: [10], 1.0: [96]}
    fitted = table[table["encoder"] != "constant"]
    # Draws of few faces differ by seed; all faces are one draw, from which the regularised probe comes out the same.
    assert fitted.groupby("share")["seeds"].unique().map(list).to_dict() == {0.05: [2], 0.1: [2], 1.0: [1]}
    main = score(read_predictions(probed / "predictions.parquet", "hog", "regularised"), 100, 0)
    last = table[(table["encoder"] == "hog") & (table["share"] == 1)].set_index("metric")
    assert set(last.index) == set(main)
    for metric, told in main.items():
        np.testing.assert_allclose(
            last.loc[metric, ["value", "low", "high"]].tolist(), [told[key] for key in ("value", "low", "high")], 1e-4
        )
    assert len(table) == 5 * 3 * len(main)


def test_probes_of_encoders_with_weights_are_kept(probed, folder):
    """Of no others; and what is kept predicts as the predictions do, in the mean over seeds."""
    assert [path.name for path in (probed / "heads").iterdir()] == ["pixels.npz"]
    saved = read_heads(probed / "heads/pixels.npz")
    origin = {"encoder": "pixels", "set": "tiny", "weights_sha256": "ab" * 32, "recipe_hash": "cd"}
    assert {key: saved.meta[key] for key in origin} == origin
    ids, features, _ = read_embeddings(folder / "embeddings/tiny/trained/pixels")
    table = read_predictions(probed / "predictions.parquet", "pixels", "regularised")
    by_task = {head.task: head for head in saved.heads}
    assert set(by_task) == set(table["task"])
    for task in ("pose", "units", "landmarks68"):
        rows = table[table["task"] == task]
        mean = rows.groupby("face_id")["prediction"].apply(lambda values: np.mean(np.stack(list(values)), axis=0))
        outputs = by_task[task](np.asarray(features)[[ids.index(name) for name in mean.index]])
        outputs = to_pixels(outputs, 32) if task == "landmarks68" else outputs
        np.testing.assert_allclose(outputs, np.stack(list(mean)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"set": "other"}, "embeddings of the labelled set other, not of tiny"),
        ({"encoder": "hog"}, "says that it holds embeddings of hog, not of pca"),
    ],
)
def test_embeddings_of_something_else_are_refused(probed, folder, tmp_path, said, line):
    shutil.copy(folder / "params.yaml", tmp_path)
    shutil.copytree(folder / "faces", tmp_path / "faces")
    embeddings = tmp_path / "embeddings/tiny/baselines/pca"
    shutil.copytree(folder / "embeddings/tiny/baselines/pca", embeddings)
    write_json(embeddings / "meta.json", read_json(embeddings / "meta.json") | said)
    done = stage(tmp_path, "probe.py", "tiny")
    assert done.returncode == 1
    assert line in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "probes").exists()


def test_an_unknown_set_is_a_configuration_error(folder):
    done = stage(folder, "probe.py", "other")
    assert done.returncode == 2
    assert "sets.other: no such labelled set; there are tiny" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_embeddings_is_one_clear_line(folder, tmp_path):
    (tmp_path / "params.yaml").write_text((folder / "params.yaml").read_text())
    write_labelled_faces(tmp_path / "faces", identities=5, per_identity=2)
    done = stage(tmp_path, "probe.py", "tiny")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: embeddings/tiny: holds no embeddings")
