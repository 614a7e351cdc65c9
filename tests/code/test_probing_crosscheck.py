"""scikit-learn's probes and the constant predictor."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from fabnet.probing import crosscheck as module
from fabnet.probing.crosscheck import crosscheck
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import Problem, constant_prediction

TRAIN, VALIDATION, TEST = np.arange(80), np.arange(80, 120), np.arange(120, 160)
ALPHAS, CS = [0.1, 10, 1000], [0.01, 1, 0.1]


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


def run(features, problems):
    results = crosscheck(features, problems, TRAIN, VALIDATION, TEST, ALPHAS, CS)
    assert [result.task for result in results] == [problem.task for problem in problems]
    return results


def test_ridge_is_that_of_the_best_alpha_on_validation(features, problems):
    scaler = StandardScaler().fit(features[TRAIN])
    x = scaler.transform(features)
    for index in (0, 3):
        problem, result = problems[index], run(features, problems)[index]
        models = {a: Ridge(alpha=a).fit(x[TRAIN], problem.labels[TRAIN]) for a in ALPHAS}
        scores = {
            a: selection_score(problem.task, m.predict(x[VALIDATION]), problem.labels[VALIDATION])
            for a, m in models.items()
        }
        best = min(scores, key=lambda alpha: scores[alpha])
        assert result.penalty == best
        np.testing.assert_allclose(result.prediction, models[best].predict(x[TEST]), rtol=1e-3, atol=1e-3)


def test_logistic_regression_is_that_of_the_best_c_on_validation(features, problems):
    x = StandardScaler().fit(features[TRAIN]).transform(features)
    units, expression = problems[1], problems[2]
    _, unit_result, class_result, _ = run(features, problems)

    def model(c, y):
        return LogisticRegression(C=c, class_weight="balanced", tol=1e-8, max_iter=2000).fit(x[TRAIN], y[TRAIN])

    of_units = {c: [model(c, units.labels[:, k]) for k in range(3)] for c in CS}
    outputs = {c: np.stack([m.decision_function(x) for m in each], axis=1) for c, each in of_units.items()}
    scores = {c: selection_score("units", out[VALIDATION], units.labels[VALIDATION]) for c, out in outputs.items()}
    assert scores[unit_result.penalty] == pytest.approx(min(scores.values()), abs=0.3)
    np.testing.assert_allclose(unit_result.prediction, outputs[unit_result.penalty][TEST], atol=0.02)

    fitted = model(class_result.penalty, expression.labels)
    np.testing.assert_allclose(class_result.prediction, fitted.predict_log_proba(x[TEST]), atol=0.02)


def test_test_labels_are_never_looked_at(features, problems):
    clean = run(features, problems)
    poisoned = []
    for problem in problems:
        labels = problem.labels.copy()
        labels[TEST] = 10**6 if problem.loss == "cross_entropy" else np.nan
        poisoned.append(replace(problem, labels=labels))
    for first, second in zip(clean, run(features, poisoned), strict=True):
        np.testing.assert_array_equal(first.prediction, second.prediction)
        assert first.penalty == second.penalty


def test_units_and_classes_that_never_occur_in_training(features, problems):
    units, expression = problems[1], problems[2]
    units.labels[TRAIN, 1] = 0
    expression.labels[TRAIN] %= 3
    _, unit_result, class_result, _ = run(features, problems)
    assert np.ptp(unit_result.prediction[:, 1]) == 0
    assert np.isfinite(class_result.prediction).all()
    assert (class_result.prediction.argmax(axis=1) < 3).all()


def test_a_feature_that_hardly_varies_in_training_does_no_harm(features, problems):
    dead = np.full((160, 1), 3, dtype=np.float32)
    dead[TRAIN[0]] += 1e-5
    dead[TEST] += 1
    for first, second in zip(run(features, problems), run(np.hstack([features, dead]), problems), strict=True):
        np.testing.assert_allclose(first.prediction, second.prediction, rtol=1e-3, atol=1e-3)


def test_large_training_sets_are_thinned_evenly(monkeypatch, features, problems):
    monkeypatch.setattr(module, "MAX_FACES", 20)
    thinned = run(features, problems)
    chosen = TRAIN[np.linspace(0, 79, 20).astype(int)]
    monkeypatch.undo()
    direct = crosscheck(features, problems, chosen, VALIDATION, TEST, ALPHAS, CS)
    np.testing.assert_array_equal(thinned[0].prediction, direct[0].prediction)


def test_the_constant_predicts_means_and_frequencies(problems):
    pose, units, expression, _ = problems
    predicted = constant_prediction(pose, TRAIN, 7)
    assert predicted.shape == (7, 3)
    np.testing.assert_allclose(predicted[4], pose.labels[TRAIN].mean(axis=0), rtol=1e-5)
    odds = (units.labels[TRAIN].sum(axis=0) + 0.5) / ((1 - units.labels[TRAIN]).sum(axis=0) + 0.5)
    np.testing.assert_allclose(np.exp(constant_prediction(units, TRAIN, 1))[0], odds, rtol=1e-5)
    frequency = np.exp(constant_prediction(expression, TRAIN, 1))[0]
    np.testing.assert_allclose(frequency, (np.bincount(expression.labels[TRAIN], minlength=4) + 0.5) / 82, rtol=1e-5)
