"""Scores by bins of faces, against scores of the same faces picked by hand."""

import numpy as np
import pandas as pd
import pytest

from fabnet.config import SlicesParams
from fabnet.probing.intervals import score
from fabnet.probing.predictions import frame
from fabnet.probing.slices import Property, bins_of, sliced


@pytest.fixture
def faces():
    return pd.DataFrame({"face_id": [f"f{i:03d}" for i in range(60)], "identity": [f"p{i % 12}" for i in range(60)]})


@pytest.fixture
def predictions(faces):
    random = np.random.default_rng(0)
    target = random.uniform(-50, 50, (60, 3))
    units = (random.random((60, 11)) < 0.4).astype(np.float32)
    units[:30, 4] = 0  # nobody of the first half shows au06
    made = {}
    for encoder, noise in (("good", 1), ("bad", 5)):
        pose = frame(encoder, "regularised", "pose", faces, target + random.normal(0, noise, (2, 60, 3)), target, 64)
        areas = frame(encoder, "regularised", "units", faces, units + random.normal(0, noise, (2, 60, 11)), units, 64)
        made[encoder] = pd.concat([pose, areas], ignore_index=True)
    return made


def by_number(faces, edges):
    """The property by which face i has the value i."""
    return Property("number", "number", pd.Series(np.arange(60.0), index=faces["face_id"]), edges)


def test_every_bin_scores_its_own_faces(faces, predictions):
    found = sliced(predictions, [by_number(faces, [0, 30, 60])], 20, 5, 100, 7)["number"]
    assert found["one_value"] is None
    assert found["outside"] == 0
    for bin_, ids in zip(found["bins"], (faces["face_id"][:30], faces["face_id"][30:]), strict=True):
        assert (bin_["faces"], bin_["identities"], bin_["enough"]) == (30, 12, True)
        for encoder, rows in predictions.items():
            assert bin_["scores"][encoder] == score(rows[rows["face_id"].isin(ids)], 100, 7)
            assert bin_["scores"][encoder]["pose_mae_deg"]["n"] == 30
    assert [bin_["absent"] for bin_ in found["bins"]] == [{"units": ["au06"]}, {}]


def test_a_bin_of_few_faces_or_people_is_counted_and_not_scored(faces, predictions):
    found = sliced(predictions, [by_number(faces, [0, 4, 19, 60, 90])], 15, 5, 100, 0)["number"]
    told = [(bin_["faces"], bin_["enough"], bool(bin_["scores"])) for bin_ in found["bins"]]
    assert told == [(4, False, False), (15, True, True), (41, True, True), (0, False, False)]
    one_person = faces.assign(identity="somebody")
    rows = {
        name: table.merge(one_person, on="face_id", suffixes=("_x", "")).drop(columns="identity_x")
        for name, table in predictions.items()
    }
    alone = sliced(rows, [by_number(faces, [0, 30, 60])], 15, 5, 100, 0)["number"]
    assert [(bin_["identities"], bin_["scores"]) for bin_ in alone["bins"]] == [(1, {}), (1, {})]


def test_faces_in_no_bin_are_counted(faces, predictions):
    assert sliced(predictions, [by_number(faces, [10, 30, 50])], 15, 5, 100, 0)["number"]["outside"] == 19


def test_faces_that_are_all_alike_are_not_sliced(faces, predictions):
    alike = Property("side", "side", pd.Series(96.0, index=faces["face_id"]), [0, 64, 128])
    found = sliced(predictions, [alike], 15, 5, 100, 0)["side"]
    assert found["one_value"] == 96
    assert all(bin_["scores"] == {} for bin_ in found["bins"])


def test_a_bin_holds_its_lower_edge_and_the_last_one_both():
    values = pd.Series([0.0, 9.9, 10, 20, 20.1, -0.1], index=list("abcdef"))
    bins = bins_of(Property("x", "x", values, [0, 10, 20]), list("abcdef"))
    assert bins == [(0, 10, ["a", "b"]), (10, 20, ["c", "d"])]


def test_edges_ascend():
    with pytest.raises(ValueError, match="edges must ascend"):
        SlicesParams(yaw_deg=[0, 30, 30], side_px=[1, 2], brightness=[0, 256], min_faces=20, min_identities=5)
