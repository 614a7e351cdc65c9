"""No leak between splits, nothing absent averaged in, right scores for perfect and for shuffled embeddings."""

import numpy as np
import pandas as pd
import pytest
from whole_sections import probe_params

from fabnet import tables
from fabnet.errors import TableError, UserError
from fabnet.probing.evaluate import Protocol, probe_constant, probe_encoder, rows_by_split
from fabnet.probing.intervals import absent, score, score_columns
from fabnet.probing.problem import Problem, absent_by_split
from fabnet.tables import EXPRESSIONS

PARAMS = probe_params(
    seeds=2,
    epochs=40,
    batch_size=32,
    learning_rate=0.05,
    validation_every=4,
    ridge_alphas=[1e-4, 1],
    logistic_cs=[1, 100],
)
COUNTS = {"train": 300, "validation": 60, "test": 150}


@pytest.fixture
def table():
    split = np.repeat(list(COUNTS), list(COUNTS.values()))
    faces = len(split)
    return pd.DataFrame(
        {
            "face_id": [f"f{i:03}" for i in range(faces)],
            "identity": [f"p{i // 3}" for i in range(faces)],
            "split": split,
            "image": [f"{i}.png" for i in range(faces)],
            **{side: np.full(faces, float(at)) for side, at in (("left", 0), ("top", 0), ("right", 9), ("bottom", 9))},
            "yaw_deg": np.linspace(-40, 40, faces),
        }
    )


@pytest.fixture
def problems():
    random = np.random.default_rng(0)
    faces = sum(COUNTS.values())
    points = np.tile(random.uniform(-0.5, 0.5, 10), (faces, 1)) + random.normal(size=(faces, 10)) * 0.1
    points[:, :4] = [-0.4, -0.4, 0.4, -0.4] + random.normal(size=(faces, 4)) * 0.05
    return [
        Problem("landmarks5", "mse", points.astype(np.float32), 10),
        Problem("pose", "mse", random.uniform(-40, 40, (faces, 3)).astype(np.float32), 3),
        Problem("units", "bce", (random.random((faces, 11)) < 0.3).astype(np.float32), 11),
        Problem("expression", "cross_entropy", random.integers(0, 8, faces), 8),
    ]


def embedding_of(problems):
    """All that is to be told, itself."""
    rows = np.arange(len(problems[0].labels))
    return np.concatenate([problem.reference(rows) for problem in problems], axis=1).astype(np.float32)


def test_an_embedding_that_is_the_labels_scores_perfectly(problems, table):
    protocol = Protocol(table, rows_by_split(table, "s"), None)
    parts, _, _ = probe_encoder("perfect", embedding_of(problems), problems, protocol, PARAMS, 64)
    constant = score(probe_constant(problems, protocol, 64)[0], 0, 0)
    for part, share in zip(parts, (0.01, 0.1), strict=True):
        scores = score(part, 0, 0)
        assert scores["units_auc"]["value"] > 99.9
        assert scores["expression_auc"]["value"] > 99.9
        for metric in ("landmarks5_nme_pct", "pose_mae_deg", "yaw_mae_deg"):
            assert scores[metric]["value"] < share * constant[metric]["value"]


def test_a_shuffled_embedding_scores_at_chance(problems, table):
    protocol = Protocol(table, rows_by_split(table, "s"), None)
    shuffled = np.random.default_rng(4).permutation(embedding_of(problems))
    parts, _, _ = probe_encoder("shuffled", shuffled, problems, protocol, PARAMS, 64)
    constant = score(probe_constant(problems, protocol, 64)[0], 0, 0)
    for part in parts:
        scores = score(part, 300, 0)
        for metric in ("units_auc", "expression_auc"):
            assert scores[metric]["low"] < 50 < scores[metric]["high"]
        for metric in ("landmarks5_nme_pct", "pose_mae_deg"):
            assert scores[metric]["high"] > constant[metric]["value"]


def test_a_person_in_two_splits_is_refused_by_the_contract_and_by_the_protocol(table):
    tables.check(table, tables.Labels, "faces.parquet")
    table.loc[table.index[-1], "identity"] = "p0"
    with pytest.raises(TableError, match=r"faces\.parquet: rows: break one_split_per_identity"):
        tables.check(table, tables.Labels, "faces.parquet")
    with pytest.raises(UserError, match=r"sets\.mine: identity p0 is in the splits train and test \(4 such faces"):
        rows_by_split(table, "sets.mine")


def test_a_face_in_two_splits_is_refused(table):
    table.loc[table.index[-1], "face_id"] = "f000"
    with pytest.raises(UserError, match="face f000 is in the splits train and test"):
        rows_by_split(table, "sets.mine")


def test_the_same_crop_under_another_name_in_two_splits_is_refused(table):
    table.loc[table.index[-1], "image"] = "0.png"
    with pytest.raises(UserError, match=r"crop 0\.png is in the splits train and test"):
        rows_by_split(table, "sets.mine")
    table.loc[table.index[-1], "left"] = 4.0  # another face of that image
    rows_by_split(table, "sets.mine")


def test_labels_that_are_no_number_are_refused(table):
    table.loc[7, "yaw_deg"] = np.nan
    with pytest.raises(TableError, match=r"faces\.parquet: yaw_deg: breaks not_nullable .*row 7"):
        tables.check(table, tables.Labels, "faces.parquet")
    table["yaw_deg"] = 0.0
    table["landmarks5"] = [np.arange(10.0) for _ in range(len(table))]
    table.loc[3, "landmarks5"][4] = np.nan
    with pytest.raises(TableError, match=r"landmarks5: breaks .*row 3"):
        tables.check(table, tables.Labels, "faces.parquet")


def test_what_a_split_lacks_is_named_and_never_averaged_in(problems, table):
    rows = rows_by_split(table, "s")
    protocol = Protocol(table, rows, None)
    units, expression = problems[2], problems[3]
    units.labels[rows["train"], 2] = 0  # au04
    units.labels[rows["validation"], 4] = 1  # au06: always there
    units.labels[rows["test"], 5] = 0  # au09
    expression.labels[rows["train"]] %= 7  # all but the last
    assert absent_by_split(problems, rows) == {
        "train": {"units": ["au04"], "expression": [EXPRESSIONS[7]]},
        "validation": {"units": ["au06"]},
        "test": {"units": ["au09"]},
    }
    parts, _, _ = probe_encoder("e", embedding_of(problems), problems, protocol, PARAMS, 64)
    for part in [*parts, *probe_constant(problems, protocol, 64)]:
        assert absent(part) == {"units": ["au04", "au09"], "expression": [EXPRESSIONS[7]]}
        by_column = score_columns(part, "units", 0, 0)
        assert [name for name, told in by_column.items() if told is None] == ["au04", "au09"]
        mean = np.mean([told["value"] for told in by_column.values() if told])
        assert score(part, 0, 0)["units_auc"]["value"] == pytest.approx(mean)
    # The labels themselves, but for columns that training knows nothing of: what is scored is all but perfect.
    assert score(parts[0], 0, 0)["units_auc"]["value"] > 99
    assert score(parts[0], 0, 0)["expression_auc"]["value"] > 99


def test_a_set_whose_validation_faces_all_agree_is_an_error(problems, table):
    rows = rows_by_split(table, "s")
    protocol = Protocol(table, rows, None)
    problems[2].labels[rows["validation"]] = 0
    with pytest.raises(UserError, match="units: all 60 validation faces agree"):
        probe_encoder("e", embedding_of(problems), problems, protocol, PARAMS, 64)
