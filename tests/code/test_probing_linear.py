"""The torch probe: equal to the modules it stands for, right where the answer is known, blind to the test split."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fabnet.probing import embeddings, linear
from fabnet.probing.heads import first_weights, inverse_frequencies
from fabnet.probing.linear import Schedule, fit
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import Problem

TRAIN, VALIDATION, TEST = np.arange(90), np.arange(90, 130), np.arange(130, 170)
SCHEDULE = Schedule(seeds=2, epochs=4, batch_size=32, learning_rate=0.01, validation_every=1)


@pytest.fixture
def features():
    return (np.random.default_rng(0).normal(size=(170, 12)) * 3 + 1).astype(np.float32)


@pytest.fixture
def problems(features):
    random = np.random.default_rng(1)
    noisy = features @ random.normal(size=(12, 23)) / 6 + random.normal(size=(170, 23)) * 0.5
    return [
        Problem("landmarks5", "mse", noisy[:, :10].astype(np.float32), 10),
        Problem("pose", "mse", (noisy[:, 10:13] * 15 + 4).astype(np.float32), 3),
        Problem("units", "bce", (noisy[:, 13:18] > 0.7).astype(np.float32), 5),
        Problem("expression", "cross_entropy", noisy[:, 18:].argmax(axis=1), 5),
    ]


def reference_loss(problem, z, labels):
    if problem.loss == "mse":
        return F.mse_loss(z, labels)
    train = problem.labels[TRAIN]
    if problem.loss == "bce":
        present = torch.from_numpy(len(TRAIN) / (2 * train.sum(axis=0)))
        absent = torch.from_numpy(len(TRAIN) / (2 * (1 - train).sum(axis=0)))
        return F.binary_cross_entropy_with_logits(z, labels, labels * present + (1 - labels) * absent)
    weight = torch.from_numpy(len(TRAIN) / (5 * np.bincount(train, minlength=5))).float()
    return F.cross_entropy(z, labels, weight=weight)


def reference_probe(problem, features, seed, epochs, budget):
    """What the paper describes, with the modules of torch, for one task and seed: outputs after `epochs` epochs, the
    learning rate falling to zero over `budget` of them.
    """
    model = nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, problem.outputs, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(first_weights(problem, 12, seed))
    labels = torch.from_numpy(problem.labels)
    shift, scale = torch.tensor(0.0), torch.tensor(1.0)
    if problem.task == "pose":
        shift, scale = labels[TRAIN].mean(dim=0), labels[TRAIN].std(dim=0, correction=0)
        labels = (labels - shift) / scale
    optimiser = torch.optim.Adam(model.parameters(), lr=SCHEDULE.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(features)
    step = 0
    for _ in range(epochs):
        for rows in TRAIN[torch.randperm(len(TRAIN), generator=generator).numpy()][: len(TRAIN)].reshape(-1, 30):
            optimiser.param_groups[0]["lr"] = SCHEDULE.learning_rate * (1 - step / (3 * budget))
            step += 1
            optimiser.zero_grad()
            reference_loss(problem, model(x[rows]), labels[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        z = model.eval()(x[TEST]) * scale + shift
        return (F.log_softmax(z, dim=1) if problem.task == "expression" else z).numpy()


def test_equals_batch_norm_and_linear_trained_alone(features, problems):
    for epochs in (1, 3):
        probes = fit(features, problems, TRAIN, VALIDATION, replace(SCHEDULE, batch_size=30, epochs=epochs))
        compared = 0
        for problem, probe in zip(problems, probes, strict=True):
            outputs = probe.predict(features, TEST)
            for seed in range(2):
                expected = reference_probe(problem, features, seed, int(probe.selected[seed]), epochs)
                np.testing.assert_allclose(outputs[seed], expected, rtol=2e-4, atol=2e-4)
                compared += 1
        assert compared == 8


def test_a_task_does_not_depend_on_the_others(features, problems):
    together = fit(features, problems, TRAIN, VALIDATION, SCHEDULE)
    for problem, probe in zip(problems, together, strict=True):
        (alone,) = fit(features, [problem], TRAIN, VALIDATION, SCHEDULE)
        # Products of other sizes round otherwise.
        np.testing.assert_allclose(alone.weight, probe.weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(alone.bias, probe.bias, rtol=1e-5, atol=1e-4)


def test_a_seed_does_not_depend_on_how_many_there_are(features, problems):
    one = fit(features, problems, TRAIN, VALIDATION, replace(SCHEDULE, seeds=1))
    two = fit(features, problems, TRAIN, VALIDATION, SCHEDULE)
    for first, both in zip(one, two, strict=True):
        np.testing.assert_allclose(both.weight[0], first.weight[0], rtol=1e-4, atol=1e-5)
        assert np.abs(both.weight[0] - both.weight[1]).max() > 0.01


def test_linear_relations_are_recovered():
    random = np.random.default_rng(5)
    features = random.normal(size=(600, 8)).astype(np.float32)
    labels = features @ random.normal(size=(8, 23)).astype(np.float32)
    problems = [
        Problem("landmarks5", "mse", labels[:, :10] / 5 + 0.3, 10),
        Problem("pose", "mse", labels[:, 10:13] * 10 + 5, 3),
        Problem("units", "bce", (labels[:, 13:15] > 0.5).astype(np.float32), 2),
        Problem("expression", "cross_entropy", labels[:, 15:].argmax(axis=1), 8),
    ]
    schedule = Schedule(seeds=2, epochs=60, batch_size=32, learning_rate=0.01, validation_every=1)
    train, validation, test = np.arange(400), np.arange(400, 500), np.arange(500, 600)
    points, pose, units, expression = (
        p.predict(features, test) for p in fit(features, problems, train, validation, schedule)
    )
    assert np.abs(points - problems[0].labels[test]).mean() < 0.06 * problems[0].labels.std()
    assert np.abs(pose - problems[1].labels[test]).mean() < 0.06 * problems[1].labels.std()
    assert ((units > 0) == (problems[2].labels[test] > 0.5)).mean() > 0.97
    assert (expression.argmax(axis=2) == problems[3].labels[test]).mean() > 0.8
    np.testing.assert_allclose(np.exp(expression).sum(axis=2), 1, rtol=1e-5)


def test_test_faces_are_never_looked_at(features, problems):
    clean = fit(features, problems, TRAIN, VALIDATION, SCHEDULE)
    poisoned_features = features.copy()
    poisoned_features[TEST] = np.nan
    poisoned = []
    for problem in problems:
        labels = problem.labels.copy()
        labels[TEST] = 10**6 if problem.loss == "cross_entropy" else np.nan
        poisoned.append(replace(problem, labels=labels))
    for first, second in zip(clean, fit(poisoned_features, poisoned, TRAIN, VALIDATION, SCHEDULE), strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
        np.testing.assert_array_equal(first.bias, second.bias)


def test_the_epoch_kept_is_the_best_on_validation(features, problems, monkeypatch):
    scores: dict[str, list[np.ndarray]] = {problem.task: [] for problem in problems}

    def note(task, outputs, reference):
        scores[task].append(selection_score(task, outputs, reference))
        return scores[task][-1]

    monkeypatch.setattr(linear, "selection_score", note)
    for probe in fit(features, problems, TRAIN, VALIDATION, replace(SCHEDULE, epochs=5)):
        of_epochs = np.stack(scores[probe.task])
        assert of_epochs.shape == (5, 2)
        assert (probe.selected == 1 + np.argmin(of_epochs, axis=0)).all()  # to be minimised
        assert (probe.validation == of_epochs.min(axis=0)).all()
        (score,) = [
            selection_score(p.task, probe.predict(features, VALIDATION), p.reference(VALIDATION))
            for p in problems
            if p.task == probe.task
        ]
        np.testing.assert_allclose(score, probe.validation, rtol=1e-5)


def test_a_last_batch_of_one_is_left_out(features, problems):
    probes = fit(features, problems, TRAIN[:33], VALIDATION, SCHEDULE)
    assert all(np.isfinite(probe.weight).all() for probe in probes)


def test_a_large_file_is_read_in_pieces_to_the_same_probes(features, problems, tmp_path, monkeypatch):
    np.save(tmp_path / "e.npy", features)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    held = fit(features, problems, TRAIN, VALIDATION, SCHEDULE)
    monkeypatch.setattr(embeddings, "_MAPPED", features.nbytes // 5)
    monkeypatch.setattr(linear, "_BLOCK", 1)  # rows of a large file are shuffled in blocks
    for first, second in zip(held, fit(mapped, problems, TRAIN, VALIDATION, SCHEDULE), strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
        np.testing.assert_array_equal(first.predict(features, TEST), second.predict(mapped, TEST))


def test_units_and_classes_weigh_alike_however_rare():
    units = Problem("units", "bce", np.array([[1, 0], [0, 0], [0, 0], [0, 0]], dtype=np.float32), 2)
    weights = inverse_frequencies(units, np.arange(4)).numpy()
    np.testing.assert_allclose(weights[:, 0], [4 / 6, 2])
    assert np.isfinite(weights).all()
    classes = Problem("expression", "cross_entropy", np.array([0, 0, 0, 2]), 3)
    weights = inverse_frequencies(classes, np.arange(4)).numpy()
    np.testing.assert_allclose(weights[[0, 2]], [4 / 9, 4 / 3])
    assert np.isfinite(weights).all()


def test_too_few_faces_are_an_error(features, problems):
    with pytest.raises(ValueError, match="2 training and 1 validation faces, not 1 and 40"):
        fit(features, problems, TRAIN[:1], VALIDATION, SCHEDULE)
