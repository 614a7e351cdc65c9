"""A VGG-11 trained from scratch on a tiny labelled set: it learns, and from what it may learn alone."""

from dataclasses import replace

import numpy as np
import pytest
from labelled_faces import write_labelled_faces
from whole_sections import supervise_params

from fabnet.attributes.sets import open_set, targets
from fabnet.config import SetParams
from fabnet.errors import UserError
from fabnet.probing.evaluate import rows_by_split
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import Problem, constant_prediction
from fabnet.supervised import fit as fitting
from fabnet.supervised.fit import Crops, fit

PARAMS = supervise_params(width=4, epochs=3, batch_size=16, learning_rate=0.003, threads=1)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_labelled_faces(folder, identities=20, per_identity=8)
    return open_set("tiny", SetParams(kind="synthetic", path=folder))


@pytest.fixture(scope="module")
def crops(labelled):
    return Crops(labelled, 32, 64)


@pytest.fixture(scope="module")
def problems(labelled):
    table = labelled.table()
    return [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]


@pytest.fixture(scope="module")
def rows(labelled):
    return rows_by_split(labelled.table(), "sets.tiny")


def same(one, other):
    assert (one.epochs, one.validation, one.history) == (other.epochs, other.validation, other.history)
    for task, values in one.predictions.items():
        np.testing.assert_array_equal(values, other.predictions[task])


def test_twenty_faces_are_learnt_by_heart(crops, problems, rows):
    few = dict.fromkeys(rows, rows["train"][:20])
    learnt = fit(crops, problems, few, PARAMS.model_copy(update={"epochs": 60, "dropout": 0.0, "mirror": False}), 0)
    score = {task: abs(value) for task, value in learnt.validation.items()}
    assert score["units"] > 99
    assert score["expression"] > 99
    assert score["pose"] < 2.5  # degrees, of angles from -20 to 20
    assert score["landmarks5"] < 15


def test_it_beats_the_constant_on_people_it_has_not_seen(crops, problems, rows):
    learnt = fit(crops, problems, rows, PARAMS.model_copy(update={"epochs": 20, "mirror": False, "dropout": 0.2}), 0)
    for problem in problems:
        if problem.task in ("pose", "landmarks68"):
            reference = problem.reference(rows["test"])
            constant = constant_prediction(problem, rows["train"], len(rows["test"]))
            trivial = selection_score(problem.task, constant, reference)
            assert selection_score(problem.task, learnt.predictions[problem.task], reference) < 0.7 * trivial


def test_labels_of_test_faces_are_never_used(crops, problems, rows):
    poisoned = []
    for problem in problems:
        labels = problem.labels.copy()
        labels[rows["test"]] = labels[rows["test"]][::-1] * 0 + (7 if problem.loss == "cross_entropy" else np.nan)
        poisoned.append(replace(problem, labels=labels))
    same(fit(crops, problems, rows, PARAMS, 0), fit(crops, poisoned, rows, PARAMS, 0))


def test_seeds_differ_and_the_random_numbers_of_others_go_on_as_they_were(crops, problems, rows):
    import torch

    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    one, other = (fit(crops, problems, rows, PARAMS, seed) for seed in (0, 1))
    assert torch.equal(torch.rand(4), wanted)
    assert not np.array_equal(one.predictions["pose"], other.predictions["pose"])


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(crops, problems, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_CHECKPOINT_EVERY_S", -1.0)
    whole = fit(crops, problems, rows, PARAMS, 0)
    seen = []

    def interrupt(note):
        seen.append(note)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(crops, problems, rows, PARAMS, 0, tmp_path / "seed0.pt", interrupt)
    rest = []
    same(whole, fit(crops, problems, rows, PARAMS, 0, tmp_path / "seed0.pt", rest.append))
    assert (len(seen), len(rest)) == (2, 1)


def test_each_task_is_predicted_with_the_weights_of_its_own_epoch(crops, problems, rows):
    watched = {**rows, "test": rows["validation"]}
    learnt = fit(crops, problems, watched, PARAMS.model_copy(update={"epochs": 6, "learning_rate": 0.01}), 0)
    for problem in problems:
        by_epoch = [point[problem.task] for point in learnt.history]
        assert learnt.epochs[problem.task] == 1 + int(np.argmin(by_epoch))
        assert learnt.validation[problem.task] == min(by_epoch)
        found = selection_score(problem.task, learnt.predictions[problem.task], problem.reference(rows["validation"]))
        assert found == pytest.approx(min(by_epoch), rel=1e-6)


def test_a_loss_that_is_not_finite_is_one_clear_line(crops, problems, rows):
    with pytest.raises(UserError, match=r"training loss of epoch \d is not finite; lower supervise.learning_rate"):
        fit(crops, problems, rows, PARAMS.model_copy(update={"learning_rate": 1e30, "batch_norm": False}), 0)
