"""Paired differences, against a bootstrap written out."""

import numpy as np
import pandas as pd
import pytest

from fabnet.errors import UserError
from fabnet.probing.intervals import draw_samples, paired, resample_weights, score, scores_of
from fabnet.probing.predictions import frame

NAMES = np.repeat([f"p{number}" for number in range(12)], 4)


def predictions_of(encoder, prediction, target, names=NAMES, task="pose"):
    faces = pd.DataFrame({"face_id": [f"f{i:03d}" for i in range(len(target))], "identity": names})
    return frame(encoder, "torch", task, faces, prediction, target, 64)


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
    encoders = {name: draw_samples(predictions_of(name, made, target), 200, 3) for name, made in (("a", a), ("b", b))}
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
    table = predictions_of("a", a, target)
    assert scores_of(draw_samples(table, 100, 1).metrics) == score(table, 100, 1)


def test_an_encoder_does_not_differ_from_itself(posed):
    target, a, _ = posed
    encoders = {name: draw_samples(predictions_of(name, a, target), 100, 0) for name in ("a", "again")}
    for difference in paired(encoders, "a")["again"].values():
        assert (difference["difference"], difference["low"], difference["high"]) == (0, 0, 0)
        assert not difference["apart"]


def test_seeds_may_differ_in_number(posed):
    target, a, b = posed
    encoders = {
        "a": draw_samples(predictions_of("a", a, target), 100, 0),
        "b": draw_samples(predictions_of("b", b[:1], target), 100, 0),
    }
    assert paired(encoders, "a")["b"]["yaw_mae_deg"]["apart"]


def test_a_metric_that_one_of_them_lacks_is_left_out(posed):
    target, a, b = posed
    areas = predictions_of("b", np.tile(target, (2, 1, 4))[..., :11], np.tile([[0], [1]], (24, 11)), task="units")
    table = pd.concat([predictions_of("b", b, target), areas], ignore_index=True)
    encoders = {"a": draw_samples(predictions_of("a", a, target), 100, 0), "b": draw_samples(table, 100, 0)}
    assert "units_auc" in encoders["b"].metrics
    assert set(paired(encoders, "a")["b"]) == {f"{angle}_mae_deg" for angle in ("roll", "pitch", "yaw", "pose")}


@pytest.mark.parametrize("change", ["faces", "identities", "labels"])
def test_other_faces_are_refused(posed, change):
    target, a, b = posed
    other = predictions_of("b", b, target)
    if change == "faces":
        other["face_id"] = other["face_id"].str.replace("f", "g")
    elif change == "identities":
        other = predictions_of("b", b, target, names=np.roll(NAMES, 1))
    else:
        other = predictions_of("b", b, target + 1)
    encoders = {"a": draw_samples(predictions_of("a", a, target), 100, 0), "b": draw_samples(other, 100, 0)}
    with pytest.raises(UserError, match="b and a were not scored on the same faces and labels for pose"):
        paired(encoders, "a")
