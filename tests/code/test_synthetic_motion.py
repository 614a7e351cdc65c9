"""The statistics of the motion: continuous, within bounds, calm in pose and lively in expression."""

import numpy as np

from fabnet.synthetic import faces, motion
from fabnet.synthetic.faces import sample_portrait
from fabnet.synthetic.motion import Event, Interview, Steps, Wander
from fabnet.synthetic.state import EXPRESSION_UNITS, FaceState, sample_expression
from fabnet.tables import EXPRESSIONS, UNITS

CLIPS = [Interview(np.random.default_rng([5, number]), 24) for number in range(40)]
FACES = [sample_portrait(np.random.default_rng([6, number])) for number in range(1500)]


def pose(state: FaceState) -> np.ndarray:
    return np.array([state.yaw, state.pitch, state.roll])


def test_an_interview_is_a_function_of_its_generator_and_time() -> None:
    again = Interview(np.random.default_rng([5, 0]), 24)
    assert again(7.3) == CLIPS[0](7.3)
    assert CLIPS[1](7.3) != CLIPS[0](7.3)


def test_an_interview_is_continuous() -> None:
    for clip in CLIPS[:6]:
        states = [clip(float(time)) for time in np.arange(3, 6, 0.004)]
        assert np.abs(np.diff([pose(state) for state in states], axis=0)).max() < 1
        assert np.abs(np.diff([state.units for state in states], axis=0)).max() < 0.15
        assert np.abs(np.diff([state.shift for state in states], axis=0)).max() < 0.005


def test_an_interview_stays_within_its_limits() -> None:
    for clip in CLIPS:
        for time in np.arange(0, 24, 0.5):
            state = clip(float(time))
            assert (np.abs(pose(state)) <= motion.POSE_LIMITS).all()
            assert 0 <= min(state.units) <= max(state.units) <= 1
            assert 0 <= state.blink <= 1
            assert np.abs(state.shift).max() < 0.12
            assert 0.9 * motion.SCALE[0] < state.scale < 1.1 * motion.SCALE[1]


def test_most_pairs_of_frames_differ_by_expression_and_some_clips_are_still() -> None:
    different = []
    spread: dict[str, list[float]] = {kind: [] for kind in motion.CLIPS}
    first, second = np.triu_indices(24, 1)
    for clip in CLIPS:
        states = [clip(float(time)) for time in range(24)]
        units = np.array([state.units for state in states])
        different.append((np.abs(units[first] - units[second]).max(axis=1) > 0.3).mean())
        spread[clip.kind].append(float(np.std([state.yaw for state in states])))
    assert np.mean(different) > 0.8
    assert np.mean(spread["still"]) < 5 < np.mean(spread["calm"]) < np.mean(spread["lively"])


def test_poses_of_labelled_faces_make_a_constant_predictor_fail() -> None:
    poses = np.array([pose(face.state) for face in FACES])
    errors = np.abs(poses - np.median(poses, axis=0)).mean(axis=0)
    # The mean distance of a normal variable from its median; few angles are clipped.
    np.testing.assert_allclose(errors, np.sqrt(2 / np.pi) * np.array(faces.POSE_SPREAD), rtol=0.07)
    assert (np.abs(poses) <= faces.POSE_LIMITS).all()


def test_units_of_labelled_faces_are_neither_rare_nor_common() -> None:
    units = np.array([face.state.units for face in FACES])
    rates = (units > 0).mean(axis=0)
    assert (rates > 0.18).all()
    assert (rates < 0.40).all()
    assert units.max() <= 1
    assert all(len(np.unique(column[column > 0])) > 50 for column in units.T)  # graded


def test_expressions_of_labelled_faces_are_uniform() -> None:
    counts = np.array([sum(face.expression == name for face in FACES) for name in EXPRESSIONS])
    assert counts.sum() == len(FACES)
    assert (np.abs(counts / len(FACES) - 1 / 8) < 0.03).all()


def test_expressions_are_combinations_of_their_units() -> None:
    rng = np.random.default_rng(0)
    assert tuple(EXPRESSION_UNITS) == EXPRESSIONS
    for name, members in EXPRESSION_UNITS.items():
        drawn = [sample_expression(rng, name) for _ in range(50)]
        active = np.array([expression.units for expression in drawn]).max(axis=0) > 0
        assert {unit for unit, used in zip(UNITS, active, strict=True) if used} == set(members)
    assert all(abs(sample_expression(rng, "contempt").asymmetry) >= 0.75 for _ in range(20))
    assert all(abs(sample_expression(rng, "happy").asymmetry) <= 0.25 for _ in range(20))


def test_tracks_by_hand() -> None:
    wander = Wander(np.array([0.0, 1.0, 3.0, 2.0, 5.0]), spacing=2.0)
    assert [wander(0.0), wander(2.0)] == [1.0, 3.0]  # a cubic through the inner knots
    event = Event(start=1.0, end=3.0, onset=0.5, decay=1.0, value=0.8)
    assert [event(0.9), event(1.5), event(2.0), event(3.1)] == [0.0, 0.8, 0.8, 0.0]
    assert event(1.25) == 0.4
    steps = Steps(np.array([0.0, 2.0]), np.array([[1.0], [5.0]]), ramp=1.0)
    assert [float(steps(time)[0]) for time in (1.0, 2.0, 2.5, 4.0)] == [1.0, 1.0, 3.0, 5.0]
