"""Curves with few labels: what is drawn, that drawn faces alone are learnt from, and the table that tells of it."""

import numpy as np
import pandas as pd
import pytest
from whole_sections import probe_params

from fabnet import tables
from fabnet.config import BootstrapParams
from fabnet.probing import linear, regularised
from fabnet.probing.intervals import score
from fabnet.probing.low_label import (
    constant_curve,
    curve,
    draw_faces,
    draws,
    faces_of,
    unseen_in_draws,
)
from fabnet.probing.predictions import frame
from fabnet.probing.problem import Problem
from fabnet.probing.regularised import penalties_of

FACES, DIMENSION = 400, 6
ROWS = {"train": np.arange(240), "validation": np.arange(240, 300), "test": np.arange(300, 400)}
PARAMS = probe_params(
    seeds=3,
    epochs=8,
    batch_size=32,
    learning_rate=0.05,
    validation_every=2,
    shares=[0.02, 0.1],
    ridge_alphas=[1, 100],
    logistic_cs=[0.01, 1],
)
REPORT = BootstrapParams(seed=0, bootstrap=100)


@pytest.fixture
def problems():
    random = np.random.default_rng(0)
    signal = features() @ random.normal(size=(DIMENSION, 22))
    units = (signal[:, :11] > 2).astype(np.float32)
    units[ROWS["train"], 3] = 0
    units[[5, 239], 3] = 1  # rare
    return [
        Problem("pose", "mse", (signal[:, 11:14] * 9).astype(np.float32), 3),
        Problem("units", "bce", units, 11),
        Problem("expression", "cross_entropy", signal[:, 14:].argmax(axis=1), 8),
    ]


def features():
    return np.random.default_rng(1).normal(size=(FACES, DIMENSION)).astype(np.float32)


@pytest.fixture
def table():
    split = np.repeat(["train", "validation", "test"], [240, 60, 100])
    names = [f"{part}{i // 4}" for part, i in zip(split, range(FACES), strict=True)]
    return pd.DataFrame({"face_id": [f"f{i:03}" for i in range(FACES)], "identity": names, "split": split})


def test_a_draw_holds_no_face_twice_and_none_from_elsewhere(problems):
    for share, count in ((0.02, 5), (0.1, 24)):
        drawn = draws(problems, ROWS["train"], share, 4)
        assert drawn.shape == (4, count)
        assert all(len(set(rows)) == count for rows in drawn.tolist())
        assert np.isin(drawn, ROWS["train"]).all()
        assert len({tuple(sorted(rows)) for rows in drawn.tolist()}) == 4  # another draw for every seed
        np.testing.assert_array_equal(drawn, draws(problems, ROWS["train"], share, 4))


def test_a_smaller_draw_is_part_of_a_larger_one(problems):
    small, large = (draw_faces(problems, ROWS["train"], count, 7) for count in (5, 50))
    np.testing.assert_array_equal(large[:5], small)


def test_nothing_rare_is_lacking_where_there_is_room(problems):
    for seed in range(20):
        drawn = draw_faces(problems, ROWS["train"], 40, seed)
        units, classes = problems[1].labels[drawn], problems[2].labels[drawn]
        assert (units.max(axis=0) == 1).all()
        assert (units.min(axis=0) == 0).all()
        assert set(classes) == set(problems[2].labels[ROWS["train"]])


def test_all_faces_are_equally_likely_but_for_the_rare():
    pose = [Problem("pose", "mse", np.zeros((30, 3), dtype=np.float32), 3)]
    counts = np.bincount(np.concatenate([draw_faces(pose, np.arange(30), 6, seed) for seed in range(2000)]))
    assert counts.min() > 320  # 400 each, within more than four standard deviations
    assert counts.max() < 480


def test_there_are_two_faces_at_least():
    assert faces_of(0.01, np.arange(3200)) == 32
    assert faces_of(0.01, np.arange(30)) == 2
    assert faces_of(0.5, np.arange(2)) == 2


def test_each_seed_learns_from_its_own_faces_alone(problems):
    """As probes trained by themselves on those rows; and whatever other rows hold changes nothing."""
    drawn = draws(problems, ROWS["train"], 0.1, 2)
    schedule = linear.Schedule(2, 4, 8, 0.05, 1)
    both = linear.fit(features(), problems, drawn, ROWS["validation"], schedule)
    poisoned = features()
    poisoned[np.setdiff1d(np.arange(FACES), np.concatenate([drawn.ravel(), ROWS["validation"]]))] = np.nan
    for first, second in zip(both, linear.fit(poisoned, problems, drawn, ROWS["validation"], schedule), strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
    alone = linear.fit(features(), problems, drawn[:1], ROWS["validation"], linear.Schedule(1, 4, 8, 0.05, 1))
    for first, second in zip(both, alone, strict=True):
        np.testing.assert_allclose(first.weight[0], second.weight[0], rtol=1e-4, atol=1e-5)


def test_the_curve_is_a_legal_table_whose_last_point_is_the_main_result(problems, table):
    probes = regularised.fit(features(), problems, ROWS["train"], ROWS["validation"], penalties_of(PARAMS))
    found = curve("mine", features(), probes, problems, table, ROWS, PARAMS, REPORT)
    tables.check(found, tables.LowLabel, "made")
    assert found.groupby("share")["faces"].first().to_dict() == {0.02: 5, 0.1: 24, 1.0: 240}
    assert found.groupby("share")["seeds"].first().to_dict() == {0.02: 3, 0.1: 3, 1.0: 1}  # all faces: one solution
    values = found.pivot(index="metric", columns="share", values="value")
    assert values.loc["pose_mae_deg", 1.0] < values.loc["pose_mae_deg", 0.1] < values.loc["pose_mae_deg", 0.02]
    assert values.loc["expression_auc", 1.0] > values.loc["expression_auc", 0.02] > 50
    test = ROWS["test"]
    whole = pd.concat(
        frame("mine", "regularised", p.task, table.iloc[test], probe.predict(features(), test), p.reference(test), 64)
        for p, probe in zip(problems, probes, strict=True)
    )
    main = found[found["share"] == 1].set_index("metric")
    for metric, told in score(whole, REPORT.bootstrap, REPORT.seed).items():
        for key in ("value", "low", "high"):
            assert main.loc[metric, key] == pytest.approx(told[key], rel=1e-5)


def test_the_constant_stays_at_chance_with_few_labels(problems, table):
    found = constant_curve(problems, table, ROWS, PARAMS, REPORT)
    tables.check(found, tables.LowLabel, "made")
    areas = found[found["metric"].str.endswith("_auc")]
    assert len(areas) == 6
    np.testing.assert_allclose(areas[["value", "low", "high"]], 50)


def test_what_a_draw_does_not_know_is_told_and_counts_as_chance(problems, table):
    told = unseen_in_draws(problems, ROWS["train"], PARAMS)
    assert told["0.1"] == {"faces": 24, "unseen": {}}
    assert told["0.02"]["faces"] == 5
    assert sum(len(names) for names in told["0.02"]["unseen"].values()) > 0
    lost = problems[1]
    lost.labels[ROWS["test"], :] = np.random.default_rng(2).random((100, 11)) < 0.5
    only_two = PARAMS.model_copy(update={"shares": [0.001]})
    probes = regularised.fit(features(), problems, ROWS["train"], ROWS["validation"], penalties_of(PARAMS))
    found = curve("mine", features(), probes, problems, table, ROWS, only_two, REPORT)
    few = found[found["share"] == 0.001].set_index("metric")
    assert few.loc["units_auc", "faces"] == 2
    assert np.isfinite(few["value"]).all()


def test_a_unit_unknown_to_all_training_faces_is_left_out_of_every_point(problems, table):
    problems[1].labels[ROWS["train"], 3] = 0
    random = np.random.default_rng(3)
    problems[1].labels[ROWS["test"], 3] = random.random(100) < 0.5
    others = [i for i in range(11) if i != 3]
    probes = regularised.fit(features(), problems, ROWS["train"], ROWS["validation"], penalties_of(PARAMS))
    found = curve("mine", features(), probes, problems, table, ROWS, PARAMS, REPORT)
    from sklearn.metrics import roc_auc_score

    scores, truth = probes[1].predict(features(), ROWS["test"]), problems[1].labels[ROWS["test"]]
    expected = np.mean([[roc_auc_score(truth[:, i], seed[:, i]) for i in others] for seed in scores])
    value = found[(found["share"] == 1) & (found["metric"] == "units_auc")]["value"].item()
    assert value == pytest.approx(100 * expected)
