"""Scores of a search against naive loops, closed forms and scikit-learn."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from fabnet.errors import UserError
from fabnet.retrieval import evaluation
from fabnet.retrieval.evaluation import Evaluation, Sample
from fabnet.retrieval.exact import alike, unit
from fabnet.retrieval.samples import (
    IDENTITY,
    JACCARD,
    MAP,
    PITCH,
    POSE,
    PRECISION,
    ROLL,
    UNITS,
    YAW,
    Attributes,
    compared,
)

EXPRESSIONS = ("happy", "sad", "anger")


def faces_of(count, seed=0, people=5):
    random = np.random.default_rng(seed)
    angles = {name: random.uniform(-60, 60, count) for name in ("yaw", "pitch", "roll")}
    units = random.random((count, 11)) < 0.3
    return Attributes(random.integers(0, people, count), angles, units, random.integers(0, 3, count))


def sample_of(faces, queries=None, recordings=None, resamples=200):
    queries = queries or len(faces)
    weights = np.random.default_rng(1).integers(0, 3, (resamples, queries)).astype(np.float32)
    ids = [f"f{number}" for number in range(len(faces))]
    return Sample(ids, faces, [recordings or ids], weights, EXPRESSIONS)


def test_comparisons_of_two_faces():
    one = Attributes(
        np.array([1]),
        {"yaw": np.array([10.0]), "pitch": np.array([-5.0]), "roll": np.array([175.0])},
        np.array([[True, True, False, False]]),
        np.array([2]),
    )
    two = Attributes(
        np.array([7]),
        {"yaw": np.array([-20.0]), "pitch": np.array([-5.0]), "roll": np.array([-179.0])},
        np.array([[True, False, True, False]]),
        np.array([2]),
    )
    found = {metric: float(value[0]) for metric, value in compared(one, two).items()}
    expected = {YAW: 30, PITCH: 0, ROLL: 6, POSE: 12, UNITS: 50, JACCARD: 100 / 3, PRECISION: 100, IDENTITY: 0}
    assert found == pytest.approx(expected)
    bare = Attributes(np.array([1]), {"yaw": np.array([1.0])}, np.zeros((1, 4), dtype=bool))
    assert {k: float(v[0]) for k, v in compared(bare, bare).items()} == {
        YAW: 0,
        UNITS: 100,
        JACCARD: 100,
        IDENTITY: 100,
    }


@pytest.mark.parametrize("block", [3, 256])
def test_chance_is_the_mean_over_all_allowed_pairs(monkeypatch, block):
    monkeypatch.setattr(evaluation, "_QUERIES", block)
    faces = faces_of(14)
    left_out = sample_of(faces, queries=7).settings()["left_out"]
    found = evaluation.of_chance(faces.take(slice(7)), faces, left_out)
    for query in range(7):
        others = [o for o in range(14) if o != query and faces.identity[o] != faces.identity[query]]
        yaw = np.abs(faces.angles["yaw"][others] - faces.angles["yaw"][query]).mean()
        same = 100 * (faces.expression[others] == faces.expression[query]).mean()
        agree = 100 * (faces.units[others] == faces.units[query]).mean()
        assert [found[m][query] for m in (YAW, PRECISION, UNITS)] == pytest.approx([yaw, same, agree])
        assert found[IDENTITY][query] == 0


@pytest.mark.parametrize("relevant", [1, 2, 5])
def test_chance_of_average_precision_is_the_mean_over_all_orders(relevant):
    truth = np.arange(6) < relevant  # of 6 others
    orders = [average_precision_score(truth[list(order)], -np.arange(6)) for order in permutations(range(6))]
    faces = Attributes(np.arange(7), expression=np.array([0, *np.where(truth, 0, 1)]))
    chance = evaluation.of_chance(faces.take(slice(1)), faces, sample_of(faces, 1).settings()["kept"])
    assert chance[MAP] == pytest.approx(100 * np.mean(orders))


def test_average_precision_against_sklearn():
    random = np.random.default_rng(3)
    faces = faces_of(40)
    vectors = unit(random.normal(size=(40, 6)))
    settings = sample_of(faces, queries=15).settings()
    found = evaluation.average_precision(faces.take(slice(15)), faces, vectors[:15], vectors, list(settings.values()))
    for values, name in zip(found, settings, strict=True):
        for query in range(15):
            allowed = np.arange(40) != query
            if name == "left_out":
                allowed &= faces.identity != faces.identity[query]
            truth = faces.expression[allowed] == faces.expression[query]
            expected = average_precision_score(truth, vectors[allowed] @ vectors[query])
            assert values[query] == pytest.approx(100 * expected)


def test_means_ratios_and_differences_against_a_loop():
    random = np.random.default_rng(0)
    values, others = random.uniform(1, 3, (2, 9))
    values[4] = np.nan
    weights = random.integers(0, 3, (50, 9)).astype(np.float32)
    there = ~np.isnan(values)
    drawn = [np.average(values[there], weights=w[there]) / np.average(others[there], weights=w[there]) for w in weights]
    found = evaluation.ratio(values, others, weights)
    assert found["value"] == pytest.approx(values[there].mean() / others[there].mean())
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), rel=1e-5)
    assert found["n"] == 8
    assert evaluation.difference(values, others, weights)["value"] == pytest.approx((values - others)[there].mean())
    assert evaluation.mean(np.full(3, np.nan), weights[:, :3]) is None
    assert evaluation.ratio(values, np.zeros(9), weights) is None


def test_an_encoder_that_knows_the_yaw_finds_it():
    faces = faces_of(120, people=30)
    evaluation = Evaluation(sample_of(faces), 3)
    yaw = np.deg2rad(faces.angles["yaw"])
    evaluation.add("knows", np.stack([np.cos(yaw), np.sin(yaw)], axis=1))
    evaluation.add("noise", np.random.default_rng(0).normal(size=(120, 8)))
    results = evaluation.results("noise")
    row = results["scores"]["left_out"]["knows"][YAW]
    assert row["times_chance"]["high"] < 0.1
    assert row["minus_reference"]["high"] < 0
    noise = results["scores"]["kept"]["noise"]
    assert 0.8 < noise[YAW]["times_chance"]["value"] < 1.2
    assert "minus_reference" not in noise[YAW]
    assert IDENTITY in noise
    assert IDENTITY not in results["scores"]["left_out"]["noise"]
    mine = evaluation.neighbours["knows"]["left_out"].rows
    assert (faces.identity[mine] != faces.identity[:, None]).all()
    # Means of the scores by expression, weighed by their queries, are those over all.
    by_class = results["classes"]["kept"]["knows"]
    total = sum(each[MAP]["value"] * each[MAP]["n"] for each in by_class.values()) / 120
    assert total == pytest.approx(results["scores"]["kept"]["knows"][MAP]["value"])
    assert evaluation.gaps == {}


def test_faces_of_one_recording_are_no_neighbours():
    faces = faces_of(12, people=12)
    recordings = [str(number // 4) for number in range(12)]
    evaluation = Evaluation(sample_of(faces, recordings=recordings), 9)
    evaluation.add("any", np.random.default_rng(0).normal(size=(12, 4)))
    found = evaluation.neighbours["any"]["kept"].rows
    assert (found[:, :8] // 4 != np.arange(12)[:, None] // 4).all()
    assert (found[:, 8] == -1).all()


def test_people_with_one_recording_have_no_share_of_identity():
    faces = Attributes(np.arange(12) // 4)
    evaluation = Evaluation(sample_of(faces, recordings=[str(number // 4) for number in range(12)]), 3)
    evaluation.add("any", np.random.default_rng(0).normal(size=(12, 4)))
    assert evaluation.results(None)["scores"]["kept"] == {"chance": {}, "any": {}}
    assert evaluation.gaps["share of the query's identity"] == "each person has one recording, which does not count"


def test_what_the_labels_lack_is_told():
    faces = faces_of(8, people=1)
    bare = Attributes(faces.identity, {"yaw": faces.angles["yaw"]}, None, np.ones(8, dtype=np.int64))
    evaluation = Evaluation(sample_of(bare), 3)
    evaluation.add("any", np.random.default_rng(0).normal(size=(8, 4)))
    results = evaluation.results("autoencoder")
    assert evaluation.gaps == {
        "pitch difference": "the labels have no pitch",
        "roll difference": "the labels have no roll",
        "agreement of units": "the labels have no action units",
        "precision by expression": "all faces of the gallery are sad: any order of them is right",
        "neighbours, same identity left_out": "no query has a face of another identity to find",
        "differences from autoencoder": "there are no embeddings of that name",
    }
    assert set(results["scores"]["kept"]["any"]) == {YAW, IDENTITY}
    assert results["scores"]["left_out"] == {"chance": {}, "any": {}}
    assert results["classes"] == {"kept": {}, "left_out": {}}


def test_a_number_that_is_not_finite_names_encoder_and_face():
    evaluation = Evaluation(sample_of(faces_of(8)), 3)
    vectors = np.ones((8, 4))
    vectors[5, 1] = np.nan
    with pytest.raises(UserError, match=r"^fabnet: the embedding of f5 holds a number that is not finite"):
        evaluation.add("fabnet", vectors)
    with pytest.raises(UserError, match="9 neighbours asked for, but the gallery has 8 rows"):
        Evaluation(sample_of(faces_of(8)), 9).add("fabnet", np.ones((8, 4)))


def test_allowed_pairs_by_names():
    pairs = alike(["a", "", "b"], ["a", "", "b", "a"])
    allowed = evaluation.allowed_pairs([pairs], slice(0, 3))
    assert allowed.tolist() == [[False, True, True, False], [True] * 4, [True, True, False, True]]
