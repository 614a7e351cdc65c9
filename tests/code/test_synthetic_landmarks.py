"""The landmarks lie on what is drawn: features are found in the pictures by changing their colour, then compared."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from action_units import units_of

from fabnet.synthetic.identity import Identity, sample_identity
from fabnet.synthetic.landmarks import landmarks5, landmarks68
from fabnet.synthetic.render import project, rays, render
from fabnet.synthetic.state import FaceState

SIZE = 128
POSES = {
    "frontal": FaceState(),
    "turned": FaceState(yaw=25, pitch=8, roll=12),
    "expressive": FaceState(
        yaw=-15, units=units_of(au01=0.8, au02=0.7, au12=0.9, au25=0.8, au26=0.5), shift=(0.03, -0.02)
    ),
}


def plain(seed: int) -> Identity:
    """A person whose features nothing covers."""
    person = sample_identity(np.random.default_rng(seed))
    return replace(person, glasses="none", beard="none", hair_style="bald", freckles=0.0)


def pixels_of(identity: Identity, state: FaceState, feature: str, size: int = SIZE) -> np.ndarray:
    """Where the picture depends on a colour of the identity, bool (size, size)."""
    colors: tuple[Any, ...] = ((0.9, 0.1, 0.1), (0.1, 0.9, 0.1))
    one, other = (render(replace(identity, **{feature: color}), state, size).astype(int) for color in colors)
    return np.abs(one - other).max(axis=2) > 25


def centres(mask: np.ndarray) -> np.ndarray:
    """Continuous coordinates (n, 2) of the pixels of a mask."""
    rows, columns = np.nonzero(mask)
    return np.stack([columns, rows], axis=1) + 0.5


def nearest(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest pixel of a mask."""
    return np.linalg.norm(points[:, None] - centres(mask)[None], axis=2).min(axis=1)


@pytest.mark.parametrize("state", POSES.values(), ids=POSES.keys())
@pytest.mark.parametrize("seed", [1, 2])
def test_irises_lie_at_the_middle_of_the_eye_landmarks(seed: int, state: FaceState) -> None:
    identity = plain(seed)
    points = landmarks68(identity, state, SIZE)
    found = centres(pixels_of(identity, state, "iris"))
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    is_left = np.linalg.norm(found - left, axis=1) < np.linalg.norm(found - right, axis=1)
    for eye, mine in ((left, is_left), (right, ~is_left)):
        assert mine.sum() > 10
        assert np.linalg.norm(found[mine].mean(axis=0) - eye) < 2.5


@pytest.mark.parametrize("state", POSES.values(), ids=POSES.keys())
@pytest.mark.parametrize("seed", [1, 2])
def test_brow_landmarks_lie_on_the_brows(seed: int, state: FaceState) -> None:
    identity = plain(seed)
    brows = pixels_of(identity, state, "brow_color")
    points = landmarks68(identity, state, SIZE)[17:27]
    assert nearest(points, brows).max() < 1.5
    for x, y in points[[1, 2, 3, 6, 7, 8]]:
        rows = np.flatnonzero(brows[:, int(x)]) + 0.5
        if len(rows) and np.abs(rows - y).min() < 1.5:  # not behind the bridge of the nose
            assert abs(rows.mean() - y) < 2
    assert sum(brows[:, int(x)].any() for x, _ in points[[1, 2, 3, 6, 7, 8]]) >= 5


@pytest.mark.parametrize("state", POSES.values(), ids=POSES.keys())
@pytest.mark.parametrize("seed", [1, 2])
def test_outer_lip_landmarks_frame_the_lips(seed: int, state: FaceState) -> None:
    identity = plain(seed)
    lips = centres(pixels_of(identity, state, "lip_color"))
    outer = landmarks68(identity, state, SIZE)[48:60]
    np.testing.assert_allclose(lips.min(axis=0), outer.min(axis=0), atol=3)
    np.testing.assert_allclose(lips.max(axis=0), outer.max(axis=0), atol=3)


def test_inner_lip_landmarks_enclose_the_open_mouth() -> None:
    identity = plain(3)
    opened = FaceState(units=units_of(au25=1.0, au26=1.0))
    points = landmarks68(identity, opened, SIZE)
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [np.round(points[60:68] - 0.5).astype(np.int32)], 1)
    core = cv2.erode(inside, np.ones((3, 3), np.uint8)).astype(bool)
    assert core.sum() > 60
    assert not (pixels_of(identity, opened, "lip_color") & core).any()
    # Below the teeth the mouth is far darker than the same place of a closed one.
    lower = core & (np.arange(SIZE)[:, None] > points[60:68, 1].mean())
    assert render(identity, opened, SIZE)[lower].mean() < 0.6 * render(identity, FaceState(), SIZE)[lower].mean()


@pytest.mark.parametrize(("yaw", "edge"), [(60, np.max), (-60, np.min)])
def test_nose_tip_is_the_outline_in_profile(yaw: float, edge: Callable[[np.ndarray], float]) -> None:
    identity, state = plain(4), FaceState(yaw=yaw)
    tip = landmarks68(identity, state, SIZE)[30]
    skin = pixels_of(identity, state, "skin")
    columns = np.flatnonzero(skin[int(tip[1])]) + 0.5
    assert abs(edge(columns) - tip[0]) < 3


def test_jaw_follows_the_outline_of_a_frontal_face() -> None:
    identity = plain(5)
    points = landmarks68(identity, FaceState(), SIZE)[:17]
    skin = pixels_of(identity, FaceState(), "skin")
    for number in (2, 3, 4, 5, 11, 12, 13, 14):
        columns = np.flatnonzero(skin[int(points[number, 1])]) + 0.5
        outline = columns.min() if number < 8 else columns.max()
        assert abs(points[number, 0] - outline) < 0.05 * SIZE
    assert np.all(np.diff(points[:, 0]) > 0)
    assert points[:, 1].argmax() == 8


def test_frontal_landmarks_are_in_ibug_order() -> None:
    points = landmarks68(plain(6), FaceState(), SIZE)
    assert points.shape == (68, 2)
    assert points.dtype == np.float64
    left_brow, right_brow, left_eye, right_eye = points[17:22], points[22:27], points[36:42], points[42:48]
    assert np.all(np.diff(np.concatenate([left_brow, right_brow])[:, 0]) > 0)
    assert np.all(np.diff(points[27:31, 1]) > 0)  # down the bridge
    assert np.all(np.diff(points[31:36, 0]) > 0)
    for eye in (left_eye, right_eye):
        assert eye[:, 0].argmin() == 0
        assert eye[:, 0].argmax() == 3
        assert eye[1:3, 1].max() < eye[4:6, 1].min()  # upper lid above lower
    assert left_brow[:, 1].max() < left_eye[:, 1].min()
    assert left_eye[:, 1].max() < points[33, 1] < points[51, 1] < points[57, 1] < points[8, 1]
    assert points[48:60, 0].argmin() == 0
    assert points[48:60, 0].argmax() == 6


def test_five_points_are_in_mafl_order() -> None:
    points = landmarks68(plain(7), FaceState(yaw=10), SIZE)
    five = landmarks5(points)
    np.testing.assert_allclose(five[0], (points[36:42].sum(axis=0)) / 6)
    np.testing.assert_allclose(five[1], (points[42:48].sum(axis=0)) / 6)
    np.testing.assert_array_equal(five[2:], points[[30, 48, 54]])
    assert five[0, 0] < five[1, 0]
    assert five[3, 0] < five[4, 0]


def test_landmarks_scale_with_the_image() -> None:
    identity, state = plain(8), POSES["expressive"]
    np.testing.assert_allclose(landmarks68(identity, state, 64) * 4, landmarks68(identity, state, 256), atol=1e-6)


def test_hidden_landmarks_are_given() -> None:
    points = landmarks68(plain(9), FaceState(yaw=60, roll=-20), SIZE)
    assert np.isfinite(points).all()
    assert (points > -0.1 * SIZE).all()
    assert (points < 1.1 * SIZE).all()


def test_rays_pass_through_the_points_their_pixels_show() -> None:
    rng = np.random.default_rng(0)
    state = FaceState(yaw=33, pitch=-12, roll=18, shift=(0.02, -0.01), scale=1.1)
    points = rng.uniform(-1, 1, (50, 3))
    pixels = project(points, state, SIZE)
    origin, direction = rays(pixels[:, 0] - 0.5, pixels[:, 1] - 0.5, state, SIZE)
    along = points - origin
    np.testing.assert_allclose(along / np.linalg.norm(along, axis=1, keepdims=True), direction.T, atol=1e-5)
