"""Scores, their intervals, and encoders compared on the same faces, against scikit-learn and naive loops."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fabnet import tables
from fabnet.errors import UserError
from fabnet.probing import intervals
from fabnet.probing.intervals import (
    absent,
    draw_samples,
    interval,
    paired,
    resample_weights,
    score,
    score_columns,
    scores_of,
    weighted_auc,
    weighted_means,
)
from fabnet.probing.predictions import frame


def predictions_of(task, prediction, target, identities):
    faces = pd.DataFrame({"face_id": [f"f{i:05d}" for i in range(len(target))], "identity": identities})
    return frame("fabnet", "regularised", task, faces, prediction, target, 64)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block", [1, 10**6])
def test_weighted_areas_against_sklearn(monkeypatch, ties, block):
    monkeypatch.setattr(intervals, "_BLOCK", block)
    random = np.random.default_rng(0)
    truth = (random.random(50) < 0.4).astype(float)
    scores = random.normal(size=50) + truth
    if ties:
        scores = scores.round()
    weights = random.integers(0, 4, (6, 50)).astype(np.float32)
    expected = [100 * roc_auc_score(truth, scores, sample_weight=weight) for weight in weights]
    np.testing.assert_allclose(weighted_auc(scores, truth, weights), expected)


def test_a_resample_without_an_outcome_has_no_area():
    truth = np.array([1.0, 0, 0])
    assert np.isnan(weighted_auc(np.arange(3.0), truth, np.array([[0.0, 1, 1]]))).all()


def test_weights_draw_whole_identities_with_replacement():
    identities = np.repeat(["a", "b", "c", "d"], [1, 2, 3, 4])
    weights = resample_weights(identities, 4000, seed=0)
    for name in "abcd":
        assert (np.ptp(weights[:, identities == name], axis=1) == 0).all()
    drawn = weights[:, [0, 1, 3, 6]]
    assert (drawn.sum(axis=1) == 4).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(drawn.var(axis=0), 0.75, atol=0.08)  # of a binomial of 4 draws at 1/4
    np.testing.assert_array_equal(weights, resample_weights(identities, 4000, seed=0))


def test_errors_match_an_explicit_bootstrap():
    random = np.random.default_rng(2)
    identities = np.repeat([f"p{i}" for i in range(6)], 5)
    target, noise = random.uniform(-30, 30, (30, 3)), random.normal(size=(2, 30, 3)) * 4
    result = score(predictions_of("pose", target + noise, target, identities), 200, seed=9)
    error = np.abs(noise).mean(axis=0)
    weights = resample_weights(identities, 200, seed=9)
    drawn = [np.repeat(error[:, 2], weight.astype(int)).mean() for weight in weights]
    assert result["yaw_mae_deg"]["value"] == pytest.approx(error[:, 2].mean(), rel=1e-4)
    assert result["yaw_mae_deg"]["low"] == pytest.approx(np.percentile(drawn, 2.5), rel=1e-4)
    assert result["yaw_mae_deg"]["high"] == pytest.approx(np.percentile(drawn, 97.5), rel=1e-4)
    assert result["pose_mae_deg"]["value"] == pytest.approx(error.mean(), rel=1e-4)
    assert result["pose_mae_deg"]["n"] == 30


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Every identity has its own mean error, drawn from a known distribution: faces within it tell nothing new."""
    random = np.random.default_rng(4)
    trials, identities, per_identity, truth = 400, 40, 5, 10.0
    names = np.repeat([f"p{i:02d}" for i in range(identities)], per_identity)
    weights = resample_weights(names, 300, seed=0)
    covered, naive = 0, 0
    for _ in range(trials):
        means = random.normal(truth, 2.0, identities)
        errors = np.repeat(means, per_identity) + random.normal(0, 0.2, len(names))
        low, high = interval(weighted_means(errors, weights))
        covered += low <= truth <= high
        naive += abs(errors.mean() - truth) <= 1.96 * errors.std() / np.sqrt(len(errors))
    assert 0.89 <= covered / trials <= 0.98
    assert naive / trials < 0.75  # what resampling faces instead of identities would have claimed


def test_areas_are_means_over_seeds_and_present_units():
    random = np.random.default_rng(5)
    target = (random.random((80, 11)) < 0.4).astype(np.float32)
    target[:, 5] = 0
    prediction = random.normal(size=(3, 80, 11)) + target
    table = predictions_of("units", prediction, target, [f"p{i // 4}" for i in range(80)])
    present = [i for i in range(11) if i != 5]
    expected = np.mean(
        [[roc_auc_score(target[:, i], seed[:, i].astype(np.float32)) for i in present] for seed in prediction]
    )
    result = score(table, 300, seed=0)["units_auc"]
    assert result["value"] == pytest.approx(100 * expected)
    assert result["low"] < result["value"] < result["high"]
    assert absent(table) == {"units": ["au09"]}
    by_unit = score_columns(table, "units", 300, seed=0)
    assert by_unit.pop("au09") is None
    assert np.mean([each["value"] for each in by_unit.values()]) == pytest.approx(result["value"])
    assert all(each["low"] < each["value"] < each["high"] and each["n"] == 80 for each in by_unit.values())
    # The interval of a unit is that of an explicit bootstrap of it.
    weights = resample_weights(np.array([f"p{i // 4}" for i in range(80)]), 300, seed=0)
    drawn = [weighted_auc(seed[:, 3].astype(np.float32), target[:, 3], weights) for seed in prediction]
    assert by_unit["au05"]["low"] == pytest.approx(np.percentile(np.mean(drawn, axis=0), 2.5))


@pytest.mark.parametrize("many", [False, True])
def test_areas_are_the_same_by_identity_and_by_face(monkeypatch, many):
    """With ties, with identities that have one outcome only, and with resamples that lack an outcome."""
    random = np.random.default_rng(3)
    names = np.array([f"p{i}" for i in random.integers(0, 7, 60)])
    target = (random.random((60, 2)) < [0.05, 0.5]).astype(np.float32)
    prediction = random.normal(size=(2, 60, 2)).round(1)
    weights = resample_weights(names, 50, seed=1)
    naive = [[weighted_auc(seed[:, c], target[:, c], weights) for c in range(2)] for seed in prediction]
    assert np.isnan(naive).any()
    if many:
        monkeypatch.setattr(intervals, "_BLOCK", 1)
    np.testing.assert_allclose(intervals._drawn_auc(names, prediction, target, weights), np.mean(naive, axis=0))


def test_expression_is_scored_one_against_the_rest():
    random = np.random.default_rng(6)
    classes = np.arange(64) % 8
    logits = random.normal(size=(1, 64, 8)) + 2 * np.eye(8)[classes]
    result = score(predictions_of("expression", logits, np.eye(8)[classes], [f"p{i}" for i in range(64)]), 0, 0)
    probabilities = np.exp(logits[0].astype(np.float32)).astype(float)
    expected = np.mean([roc_auc_score(classes == c, probabilities[:, c]) for c in range(8)])
    assert result == {
        "expression_auc": dict.fromkeys(("value", "low", "high"), pytest.approx(100 * expected)) | {"n": 64}
    }


def test_metric_names_are_those_other_tools_rely_on():
    random = np.random.default_rng(7)
    names = [f"p{i}" for i in range(16)]
    tasks = {"landmarks68": 136, "landmarks5": 10, "pose": 3}
    parts = [
        predictions_of(t, random.normal(size=(1, 16, k)), random.normal(size=(16, k)), names) for t, k in tasks.items()
    ]
    parts.append(predictions_of("units", random.normal(size=(1, 16, 11)), np.tile([[0.0], [1]], (8, 11)), names))
    parts.append(predictions_of("expression", random.normal(size=(1, 16, 8)), np.eye(8)[np.arange(16) % 8], names))
    result = score(tables.check(pd.concat(parts, ignore_index=True), tables.Predictions, "made"), 100, 0)
    assert set(result) == {
        *("roll_mae_deg", "pitch_mae_deg", "yaw_mae_deg", "pose_mae_deg", "landmarks68_nme_pct", "landmarks5_nme_pct"),
        *("units_auc", "expression_auc"),
    }
    assert all(set(values) == {"value", "low", "high", "n"} for values in result.values())


def test_predictions_of_two_encoders_are_refused():
    table = predictions_of("pose", np.zeros((1, 2, 3)), np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="single encoder"):
        score(pd.concat([table, table.assign(encoder="other")]), 0, 0)


def test_rows_may_come_in_any_order():
    random = np.random.default_rng(8)
    table = predictions_of(
        "pose", random.normal(size=(2, 20, 3)), random.normal(size=(20, 3)), [f"p{i % 5}" for i in range(20)]
    )
    assert score(table.sample(frac=1, random_state=0), 100, 0) == score(table, 100, 0)


NAMES = np.repeat([f"p{number}" for number in range(12)], 4)


def predictions_by(encoder, prediction, target, names=NAMES, task="pose"):
    faces = pd.DataFrame({"face_id": [f"f{i:03d}" for i in range(len(target))], "identity": names})
    return frame(encoder, "regularised", task, faces, prediction, target, 64)


@pytest.fixture
def posed():
    random = np.random.default_rng(0)
    target = random.uniform(-30, 30, (48, 3))
    # Both err on the same people, one of them by a little more.
    shared = np.repeat(random.uniform(1, 20, (12, 1)), 4, axis=0) * np.ones(3)
    a = target + shared + random.normal(0, 0.2, (2, 48, 3))
    b = target + shared + 0.5 + random.normal(0, 0.2, (2, 48, 3))
    return target, a, b


def test_differences_match_an_explicit_bootstrap_of_the_same_people(posed):
    target, a, b = posed
    encoders = {name: draw_samples(predictions_by(name, made, target), 200, 3) for name, made in (("a", a), ("b", b))}
    found = paired(encoders, "a")
    assert set(found) == {"b"}
    errors = [np.abs(made.astype(np.float32) - target.astype(np.float32))[..., 2].mean(axis=0) for made in (a, b)]
    weights = resample_weights(NAMES, 200, 3).astype(int)
    naive = [np.repeat(errors[1] - errors[0], weight).mean() for weight in weights]
    yaw = found["b"]["yaw_mae_deg"]
    assert yaw["difference"] == pytest.approx((errors[1] - errors[0]).mean(), rel=1e-4)
    assert yaw["low"] == pytest.approx(np.percentile(naive, 2.5), rel=1e-3)
    assert yaw["high"] == pytest.approx(np.percentile(naive, 97.5), rel=1e-3)
    assert yaw["apart"]
    assert yaw["n"] == 48
    # Apart though their own intervals overlap: that is what pairing is for.
    scores = {name: scores_of(each.metrics)["yaw_mae_deg"] for name, each in encoders.items()}
    assert scores["b"]["low"] < scores["a"]["high"]


def test_scores_of_what_was_drawn_are_the_scores(posed):
    target, a, _ = posed
    table = predictions_by("a", a, target)
    assert scores_of(draw_samples(table, 100, 1).metrics) == score(table, 100, 1)


def test_an_encoder_does_not_differ_from_itself(posed):
    target, a, _ = posed
    encoders = {name: draw_samples(predictions_by(name, a, target), 100, 0) for name in ("a", "again")}
    for difference in paired(encoders, "a")["again"].values():
        assert (difference["difference"], difference["low"], difference["high"]) == (0, 0, 0)
        assert not difference["apart"]


def test_seeds_may_differ_in_number(posed):
    target, a, b = posed
    encoders = {
        "a": draw_samples(predictions_by("a", a, target), 100, 0),
        "b": draw_samples(predictions_by("b", b[:1], target), 100, 0),
    }
    assert paired(encoders, "a")["b"]["yaw_mae_deg"]["apart"]


def test_a_metric_that_one_of_them_lacks_is_left_out(posed):
    target, a, b = posed
    areas = predictions_by("b", np.tile(target, (2, 1, 4))[..., :11], np.tile([[0], [1]], (24, 11)), task="units")
    table = pd.concat([predictions_by("b", b, target), areas], ignore_index=True)
    encoders = {"a": draw_samples(predictions_by("a", a, target), 100, 0), "b": draw_samples(table, 100, 0)}
    assert "units_auc" in encoders["b"].metrics
    assert set(paired(encoders, "a")["b"]) == {f"{angle}_mae_deg" for angle in ("roll", "pitch", "yaw", "pose")}


@pytest.mark.parametrize("change", ["faces", "identities", "labels"])
def test_other_faces_are_refused(posed, change):
    target, a, b = posed
    other = predictions_by("b", b, target)
    if change == "faces":
        other["face_id"] = other["face_id"].str.replace("f", "g")
    elif change == "identities":
        other = predictions_by("b", b, target, names=np.roll(NAMES, 1))
    else:
        other = predictions_by("b", b, target + 1)
    encoders = {"a": draw_samples(predictions_by("a", a, target), 100, 0), "b": draw_samples(other, 100, 0)}
    with pytest.raises(UserError, match="b and a were not scored on the same faces and labels for pose"):
        paired(encoders, "a")
