"""The regularised probe: equal to scikit-learn's estimators, blind to the test split, right at the extremes."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from fabnet.errors import UserError
from fabnet.probing import design, embeddings
from fabnet.probing.design import Design
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import Problem, constant_prediction
from fabnet.probing.regression import logistic_classes, logistic_units, ridge
from fabnet.probing.regularised import Penalties, at_edge, fit

TRAIN, VALIDATION, TEST = np.arange(80), np.arange(80, 120), np.arange(120, 160)
PENALTIES = Penalties((0.1, 10, 1000), (0.01, 1, 0.1))


@pytest.fixture
def features():
    return (np.random.default_rng(0).normal(size=(160, 6)) * [1, 2, 3, 4, 5, 9] + 7).astype(np.float32)


@pytest.fixture
def problems(features):
    random = np.random.default_rng(1)
    noisy = features @ random.normal(size=(6, 12)) / 9 + random.normal(size=(160, 12))
    noisy -= noisy.mean(axis=0)
    return [
        Problem("pose", "mse", (noisy[:, :3] * 10).astype(np.float32), 3),
        Problem("units", "bce", (noisy[:, 3:6] > 0.5).astype(np.float32), 3),
        Problem("expression", "cross_entropy", noisy[:, 6:10].argmax(axis=1), 4),
        Problem("landmarks5", "mse", noisy[:, :10].astype(np.float32), 10),
    ]


def run(features, problems, penalties=PENALTIES):
    probes = fit(features, problems, TRAIN, VALIDATION, penalties)
    assert [probe.task for probe in probes] == [problem.task for problem in problems]
    return probes


def wide(features, width=300):
    """Many correlated features of the same few, more than there are training faces."""
    random = np.random.default_rng(5)
    return (features @ random.normal(size=(6, width)) + random.normal(size=(160, width))).astype(np.float32)


@pytest.mark.parametrize("make", [lambda x: x, wide], ids=["narrow", "wide"])
def test_solutions_are_those_of_scikit_learn(features, problems, make):
    """With fewer features than faces, and, by the span of the faces, with more."""
    features = make(features)
    x = StandardScaler().fit(features[TRAIN].astype(float)).transform(features.astype(float))
    made = Design.of(features, TRAIN)
    assert made.unknowns <= min(len(TRAIN), features.shape[1])
    pose, units, expression, _ = problems

    def predicted(weights, intercepts):
        weight, bias = made.in_features(weights, intercepts)
        return features @ weight.T + bias

    def theirs(c, y):
        return LogisticRegression(C=c, class_weight="balanced", tol=1e-9, max_iter=5000).fit(x[TRAIN], y)

    for alpha, *solution in ridge(made, pose.labels[TRAIN], (0.1, 10, 1000)):
        wanted = Ridge(alpha=alpha).fit(x[TRAIN], pose.labels[TRAIN]).predict(x)
        np.testing.assert_allclose(predicted(*solution), wanted, rtol=1e-3, atol=2e-3)
    for c, *solution in logistic_units(made, units.labels[TRAIN], (0.001, 0.1, 1)):
        wanted = np.stack([theirs(c, y).decision_function(x) for y in units.labels[TRAIN].T], axis=1)
        np.testing.assert_allclose(predicted(*solution), wanted, rtol=2e-3, atol=1e-2)
    for c, *solution in logistic_classes(made, expression.labels[TRAIN], (0.001, 0.1, 1)):
        found, wanted = predicted(*solution), theirs(c, expression.labels[TRAIN]).decision_function(x)
        np.testing.assert_allclose(found - found.mean(axis=1, keepdims=True), wanted, rtol=2e-3, atol=1e-2)


def test_the_penalty_is_the_best_on_validation(features, problems):
    scaler = StandardScaler().fit(features[TRAIN])
    x = scaler.transform(features)
    pose, units, expression, points = run(features, problems)
    for problem, probe in ((problems[0], pose), (problems[3], points)):
        models = {a: Ridge(alpha=a).fit(x[TRAIN], problem.labels[TRAIN]) for a in PENALTIES.alphas}
        scores = {
            a: float(selection_score(problem.task, m.predict(x[VALIDATION]), problem.labels[VALIDATION]))
            for a, m in models.items()
        }
        best = min(scores, key=lambda alpha: scores[alpha])
        assert probe.selected.tolist() == [best]
        assert probe.validation[0] == pytest.approx(scores[best], rel=1e-4)
        np.testing.assert_allclose(
            probe.predict(features, TEST)[0], models[best].predict(x[TEST]), rtol=1e-3, atol=1e-3
        )
    fitted = LogisticRegression(C=expression.selected[0], class_weight="balanced", tol=1e-8, max_iter=2000)
    fitted.fit(x[TRAIN], problems[2].labels[TRAIN])
    np.testing.assert_allclose(expression.predict(features, TEST)[0], fitted.predict_log_proba(x[TEST]), atol=0.01)
    scores = [
        float(selection_score("units", z, problems[1].labels[VALIDATION]))
        for c in PENALTIES.cs
        for z in [
            np.stack(
                [
                    LogisticRegression(C=c, class_weight="balanced", max_iter=2000, tol=1e-8)
                    .fit(x[TRAIN], y)
                    .decision_function(x[VALIDATION])
                    for y in problems[1].labels[TRAIN].T
                ],
                axis=1,
            )
        ]
    ]
    assert units.validation[0] == pytest.approx(min(scores), abs=0.1)


def test_test_faces_are_never_looked_at(features, problems):
    clean = run(features, problems)
    others = features.copy()
    others[TEST] = np.nan
    poisoned = []
    for problem in problems:
        labels = problem.labels.copy()
        labels[TEST] = 10**6 if problem.loss == "cross_entropy" else np.nan
        poisoned.append(replace(problem, labels=labels))
    for first, second in zip(clean, run(others, poisoned), strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
        np.testing.assert_array_equal(first.bias, second.bias)


def test_a_mapped_file_is_read_in_blocks_to_the_same_probes(features, problems, tmp_path, monkeypatch):
    np.save(tmp_path / "e.npy", features)
    held = run(features, problems)
    monkeypatch.setattr(embeddings, "_MAPPED", 100)
    monkeypatch.setattr(design, "_BLOCK", 50)
    monkeypatch.setattr(design, "_KEPT", 0)
    for first, second in zip(held, run(np.load(tmp_path / "e.npy", mmap_mode="r"), problems), strict=True):
        assert first.selected == second.selected
        np.testing.assert_allclose(first.weight, second.weight, rtol=2e-3, atol=1e-4)


def test_units_and_classes_that_never_occur_in_training(features, problems):
    units, expression = problems[1], problems[2]
    units.labels[TRAIN, 1] = 0
    expression.labels[TRAIN] %= 3
    _, of_units, of_classes, _ = run(features, problems)
    assert (of_units.predict(features, TEST)[0][:, 1] == -30).all()
    predicted = of_classes.predict(features, TEST)[0]
    assert np.isfinite(predicted).all()
    assert (predicted.argmax(axis=1) < 3).all()
    units.labels[VALIDATION, 2] = 1  # constant on validation: the others choose
    assert np.isfinite(run(features, problems)[1].validation).all()


def test_validation_faces_that_agree_on_everything_are_an_error(features, problems):
    problems[1].labels[VALIDATION] = 0
    with pytest.raises(UserError, match="units: all 40 validation faces agree"):
        run(features, problems)


def test_a_feature_that_hardly_varies_in_training_does_no_harm(features, problems):
    dead = np.full((160, 1), 3, dtype=np.float32)
    dead[TRAIN[0]] += 1e-5
    dead[TEST] += 1
    for first, second in zip(run(features, problems), run(np.hstack([features, dead]), problems), strict=True):
        np.testing.assert_allclose(first.weight, second.weight[..., :-1], rtol=1e-3, atol=1e-4)
        assert (second.weight[..., -1] == 0).all()


def test_duplicate_columns_share_their_weight(features, problems):
    twice = np.hstack([features, features])
    for probe in run(twice, problems):
        np.testing.assert_allclose(probe.weight[..., :6], probe.weight[..., 6:], rtol=1e-3, atol=1e-5)


def test_a_single_feature_and_none_that_varies(features, problems):
    one = fit(features[:, :1], problems, TRAIN, VALIDATION, Penalties((10,), (1,)))
    x = StandardScaler().fit(features[TRAIN, :1].astype(float)).transform(features[:, :1].astype(float))
    wanted = Ridge(alpha=10).fit(x[TRAIN], problems[0].labels[TRAIN]).predict(x[TEST])
    np.testing.assert_allclose(one[0].predict(features[:, :1], TEST)[0], wanted, rtol=1e-3, atol=1e-3)
    still = np.ones((160, 4), dtype=np.float32)
    pose, units, *_ = run(still, problems)
    np.testing.assert_allclose(
        pose.predict(still, TEST)[0], np.tile(problems[0].labels[TRAIN].mean(axis=0), (40, 1)), 1e-4
    )
    assert units.validation[0] == -50
    assert pose.selected[0] == 1000  # all alike: the strongest


def test_fewer_faces_than_classes(features, problems):
    expression = problems[2]
    few = TRAIN[:3]
    (probe,) = fit(features, [expression], few, VALIDATION, PENALTIES)
    predicted = probe.predict(features, TEST)[0]
    assert np.isfinite(predicted).all()
    assert set(predicted.argmax(axis=1)) <= set(expression.labels[few])


def test_a_penalty_at_an_end_of_the_list_is_noticed():
    grid = [1, 10, 100]
    assert at_edge(np.array([1]), grid)
    assert at_edge(np.array([100, 100, 10]), grid)
    assert not at_edge(np.array([10, 100]), grid)
    assert not at_edge(np.array([1]), [1])


def test_the_constant_predicts_means_and_frequencies(problems):
    pose, units, expression, _ = problems
    predicted = constant_prediction(pose, TRAIN, 7)
    assert predicted.shape == (7, 3)
    np.testing.assert_allclose(predicted[4], pose.labels[TRAIN].mean(axis=0), rtol=1e-5)
    odds = (units.labels[TRAIN].sum(axis=0) + 0.5) / ((1 - units.labels[TRAIN]).sum(axis=0) + 0.5)
    np.testing.assert_allclose(np.exp(constant_prediction(units, TRAIN, 1))[0], odds, rtol=1e-5)
    frequency = np.exp(constant_prediction(expression, TRAIN, 1))[0]
    np.testing.assert_allclose(frequency, (np.bincount(expression.labels[TRAIN], minlength=4) + 0.5) / 82, rtol=1e-5)
