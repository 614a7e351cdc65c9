"""Whole walks: a released layout becomes a table, crops, embeddings, probes and scores; and large sets stay tables."""

import numpy as np
import pandas as pd
import pytest
import set_layouts as layouts
from whole_sections import probe_params

from fabnet.attributes.folder import ImageFolder
from fabnet.attributes.sets import iterate_crops, open_set, targets
from fabnet.config import SetParams
from fabnet.networks.build import random_encoder
from fabnet.networks.encoder import embed_images
from fabnet.probing.embeddings import read_embeddings, rows_of, write_embeddings
from fabnet.probing.evaluate import Protocol, probe_constant, probe_encoder, rows_by_split
from fabnet.probing.intervals import score
from fabnet.probing.problem import Problem
from fabnet.quality.set_audit import audit_images, audit_set

PROBE = probe_params(
    seeds=2, epochs=4, batch_size=16, learning_rate=0.01, ridge_alphas=[100], logistic_cs=[0.01], validation_every=2
)
META = {"encoder": "e", "set": "mine", "weights_sha256": None, "recipe_hash": None}


def scores_of(labelled, folder):
    """Scores of a random encoder and of the constant, by the walk of the stages embed and probe."""
    table = labelled.table()
    audit_set("mine", table, None)
    audit_images(labelled)
    encoder = random_encoder(32, 4, 16, 0)
    features = embed_images(encoder, (crops for _, crops in iterate_crops(labelled, 32, 32)))
    write_embeddings(folder, table["face_id"].tolist(), features, 16, len(table), META)
    ids, array, _ = read_embeddings(folder)
    features = array[rows_of(table["face_id"].tolist(), ids, folder)]
    protocol = Protocol(table, rows_by_split(table, "sets.mine"), None)
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    parts, _, _ = probe_encoder("e", features / features.std(), problems, protocol, PROBE, 32)
    return score(parts[0], 20, 0), score(probe_constant(problems, protocol, 32)[0], 0, 0)


def test_w300_is_probed(tmp_path):
    faces = layouts.draw()
    layouts.write_w300(tmp_path / "set", faces)
    labelled = open_set("mine", SetParams(kind="w300", path=tmp_path / "set"))
    found, constant = scores_of(labelled, tmp_path / "embeddings")
    assert set(found) == {"landmarks68_nme_pct"}
    score = found["landmarks68_nme_pct"]
    assert score["n"] == (labelled.table()["split"] == "test").sum() == 39
    assert 0 < score["low"] <= score["value"] <= score["high"] < 100
    assert 0 < constant["landmarks68_nme_pct"]["value"] < 30


def test_emotionet_is_probed(tmp_path):
    faces = layouts.draw()
    layouts.write_emotionet(tmp_path / "set", faces, test=32)
    labelled = open_set("mine", SetParams(kind="emotionet", path=tmp_path / "set"))
    found, constant = scores_of(labelled, tmp_path / "embeddings")
    assert found["units_auc"]["n"] == 32
    assert constant["units_auc"]["value"] == 50
    assert 20 < found["units_auc"]["value"] <= 100


def test_an_own_table_is_probed_for_everything(tmp_path):
    faces = layouts.draw()
    layouts.write_own(tmp_path / "set", faces, layouts.own_table(faces))
    params = SetParams(kind="table", path=tmp_path / "set", labels="labels.csv", images="pictures")
    found, constant = scores_of(open_set("mine", params), tmp_path / "embeddings")
    assert set(found) == set(constant)
    assert {"landmarks68_nme_pct", "landmarks5_nme_pct", "pose_mae_deg", "units_auc", "expression_auc"} <= set(found)
    assert all(np.isfinite(score["value"]) for score in found.values())


@pytest.mark.parametrize("kind", ["affectnet", "emotionet"])
def test_large_sets_hold_no_object_per_image(tmp_path, monkeypatch, kind):
    """Of the largest sets, columns are Arrow's text and NumPy's numbers: 450,000 images are some 120 MB."""
    faces = layouts.draw(8, 2)
    {"affectnet": layouts.write_affectnet, "emotionet": layouts.write_emotionet}[kind](tmp_path, faces, test=4)
    table = open_set("mine", SetParams(kind=kind, path=tmp_path)).table()
    for column, dtype in table.dtypes.items():
        assert dtype == np.float64 or isinstance(dtype, pd.StringDtype), column
        assert getattr(dtype, "storage", "pyarrow") == "pyarrow"


def test_a_table_of_twenty_thousand_rows_takes_a_second_or_so(tmp_path, monkeypatch):
    """Work grows with rows, also where many of them are repeated."""
    count = 20_000
    number = np.arange(count)
    table = pd.DataFrame({"image": [f"{n % 15_000}.jpg" for n in number], "expression": number % 15_000 % 8})
    (tmp_path / "labels.csv").write_text(table.to_csv(index=False))
    monkeypatch.setattr(ImageFolder, "sizes", lambda self, said, names: np.full((len(names), 3), 64))
    labelled = open_set("mine", SetParams(kind="table", path=tmp_path, labels="labels.csv"))
    assert len(labelled.table()) == 15_000
    assert labelled.left_out["faces"].tolist() == [5_000]
