"""Metrics against naive loops and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fabnet.errors import UserError
from fabnet.probing.metrics import (
    absent_columns,
    angle_errors,
    face_errors,
    landmark_errors,
    roc_auc,
    selection_score,
)


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.mark.parametrize(("points", "eyes"), [(68, (36, 45)), (5, (0, 1))])
def test_landmark_errors_against_a_loop(random, points, eyes):
    target = random.normal(size=(7, 2 * points)) * 10
    prediction = target + random.normal(size=(3, 7, 2 * points))
    expected = np.empty((3, 7))
    for seed in range(3):
        for face in range(7):
            truth = target[face].reshape(points, 2)
            guess = prediction[seed, face].reshape(points, 2)
            total = sum(np.hypot(*(guess[i] - truth[i])) for i in range(points)) / points
            expected[seed, face] = 100 * total / np.hypot(*(truth[eyes[0]] - truth[eyes[1]]))
    np.testing.assert_allclose(landmark_errors(prediction, target), expected)


def test_landmark_errors_do_not_depend_on_unit_origin_or_rotation(random):
    target, prediction = random.normal(size=(2, 4, 136))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])

    def moved(points):
        return (points.reshape(-1, 68, 2) @ turn * 7 + 3).reshape(-1, 136)

    np.testing.assert_allclose(landmark_errors(moved(prediction), moved(target)), landmark_errors(prediction, target))


def test_coinciding_eyes_are_an_error():
    with pytest.raises(UserError, match="eyes of 2 faces coincide"):
        landmark_errors(np.ones((2, 10)), np.zeros((2, 10)))


@pytest.mark.parametrize(
    ("prediction", "target", "error"), [(170, -170, 20), (-179, 179, 2), (10, 350, 20), (90, -90, 180), (5, 5, 0)]
)
def test_angles_go_the_shorter_way_round(prediction, target, error):
    assert angle_errors(np.array([prediction]), np.array([target])).tolist() == [error]


def test_pose_error_is_the_mean_of_three(random):
    target, prediction = random.uniform(-40, 40, (2, 9, 3))
    errors = face_errors("pose", prediction[None], target)
    assert list(errors) == ["roll_mae_deg", "pitch_mae_deg", "yaw_mae_deg", "pose_mae_deg"]
    np.testing.assert_allclose(errors["pitch_mae_deg"][0], np.abs(prediction - target)[:, 1])
    np.testing.assert_allclose(errors["pose_mae_deg"][0], np.abs(prediction - target).mean(axis=1))


def test_mouth_error_is_in_percent_of_its_width():
    errors = face_errors("mouth", np.array([[[0.1], [0.5]], [[0.3], [0.0]]]), np.array([[0.2], [0.25]]))
    assert list(errors) == ["mouth_mae_pct"]
    np.testing.assert_allclose(errors["mouth_mae_pct"], [[10, 25], [10, 25]])


@pytest.mark.parametrize("ties", [False, True])
def test_areas_against_sklearn(random, ties):
    truth = (random.random((60, 4)) < 0.3).astype(np.float32)
    scores = random.normal(size=(2, 60, 4)) + truth
    if ties:
        scores = scores.round()
    expected = [[100 * roc_auc_score(truth[:, k], seed[:, k]) for k in range(4)] for seed in scores]
    np.testing.assert_allclose(roc_auc(scores, truth), expected)


def test_constant_scores_have_half_the_area():
    assert roc_auc(np.zeros((5, 1)), np.array([[0], [1], [1], [0], [1]])).tolist() == [50]


def test_columns_without_two_outcomes_have_no_area_and_are_left_out(random):
    truth = np.array([[0, 1, 0], [0, 1, 1], [0, 1, 1]], dtype=np.float32)
    scores = random.normal(size=(2, 3, 3))
    assert np.isnan(roc_auc(scores, truth)[:, :2]).all()
    assert absent_columns(truth).tolist() == [True, True, False]
    np.testing.assert_allclose(selection_score("units", scores, truth), -roc_auc(scores, truth)[:, 2])
    with pytest.raises(UserError, match="units: all 3 validation faces agree"):
        selection_score("units", scores[..., :2], truth[:, :2])


def test_selection_prefers_the_better(random):
    target = random.uniform(-40, 40, (30, 3))
    close, far = target + 1, target + 5
    assert selection_score("pose", close, target) == pytest.approx(1)
    assert selection_score("pose", close, target) < selection_score("pose", far, target)
    truth = (random.random((30, 2)) < 0.5).astype(float)
    assert selection_score("units", truth, truth) == -100
    assert selection_score("units", -truth, truth) == 0
