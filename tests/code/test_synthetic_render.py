"""What the renderer draws: pose as the conventions say, every action unit visible and in its place."""

from dataclasses import replace

import numpy as np
import pytest
from action_units import units_of

from fabnet.synthetic.identity import BACKGROUNDS, BEARDS, HAIR_STYLES, sample_identity
from fabnet.synthetic.landmarks import landmarks68
from fabnet.synthetic.render import render
from fabnet.synthetic.state import FaceState, Light
from fabnet.tables import UNIT_COLUMNS

SIZE = 64
PERSON = replace(
    sample_identity(np.random.default_rng(1)), glasses="none", beard="none", hair_style="short", fringe=0.0
)
REST = FaceState()


def change(one: FaceState, other: FaceState, size: int = SIZE) -> np.ndarray:
    """Largest difference of a channel per pixel, int (size, size)."""
    return np.abs(render(PERSON, one, size).astype(int) - render(PERSON, other, size)).max(axis=2)


def test_pictures_are_repeatable_and_well_formed() -> None:
    first = render(PERSON, REST, SIZE)
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, render(PERSON, FaceState(), SIZE))
    assert 30 < first.mean() < 220
    assert first.std() > 20


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_hair_style_and_beard_is_drawn(style: str) -> None:
    state = FaceState(yaw=20)
    pictures = {beard: render(replace(PERSON, hair_style=style, beard=beard), state, SIZE) for beard in BEARDS}
    for beard in BEARDS[1:]:
        assert np.abs(pictures[beard].astype(int) - pictures["none"]).max() > 20
    other = "bald" if style != "bald" else "long"
    assert np.abs(render(replace(PERSON, hair_style=other), state, SIZE).astype(int) - pictures["none"]).max() > 40


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_stay_behind_the_face(kind: str) -> None:
    here, there = (render(replace(PERSON, background=name), REST, SIZE).astype(int) for name in (kind, "none such"))
    middle = slice(SIZE // 3, 2 * SIZE // 3)
    np.testing.assert_array_equal(here[middle, middle], there[middle, middle])
    if kind != "gradient":
        assert np.abs(here - there).max() > 10


@pytest.mark.parametrize(("yaw", "pitch", "axis", "sign"), [(20, 0, 0, 1), (0, 20, 1, -1)])
def test_the_nose_follows_yaw_and_pitch(yaw: float, pitch: float, axis: int, sign: int) -> None:
    states = [FaceState(yaw=turn * yaw, pitch=turn * pitch) for turn in (-1, 0, 1)]
    tips = [landmarks68(PERSON, state, SIZE)[30, axis] for state in states]
    assert np.all(sign * np.diff(tips) > 0.05 * SIZE)


def test_roll_tilts_clockwise() -> None:
    points = landmarks68(PERSON, FaceState(roll=20), SIZE)
    assert points[8, 0] < points[27, 0] - 3  # the chin goes to the left of the nose's root
    down = points[8] - points[27]
    assert np.degrees(np.arctan2(-down[0], down[1])) == pytest.approx(20, abs=1)


def test_light_comes_from_its_side() -> None:
    left, right = (render(PERSON, FaceState(light=Light(azimuth=azimuth)), SIZE).astype(int) for azimuth in (-60, 60))
    cheeks = landmarks68(PERSON, REST, SIZE)[[2, 14]].mean(axis=0)
    row, column = int(cheeks[1]), int(cheeks[0])
    difference = (left - right).sum(axis=2)[row - 4 : row + 4]
    assert difference[:, column - 16 : column - 8].mean() > 30
    assert difference[:, column + 8 : column + 16].mean() < -30


#: Least share of a unit's change of the picture that lies above (+) or below (-) the middle of the nose.
PLACE = {
    "au01": 0.95,
    "au02": 0.95,
    "au04": 0.95,
    "au05": 0.95,
    "au06": 0.75,
    "au17": -0.8,
    "au20": -0.8,
    "au25": -0.8,
    "au26": -0.65,
}


@pytest.mark.parametrize("unit", UNIT_COLUMNS)
def test_every_unit_shows_in_its_place(unit: str) -> None:
    changed = change(FaceState(units=units_of(**{unit: 1.0})), REST).astype(float)
    assert (changed > 20).sum() >= 40
    # The change of one unit stays within the head.
    points = landmarks68(PERSON, REST, SIZE)
    margin = 0.06 * SIZE
    assert changed[:, : int(points[:17, 0].min() - margin)].max() <= 3
    assert changed[:, int(points[:17, 0].max() + margin) :].max() <= 3
    if unit in PLACE:
        middle = round(points[29:31, 1].mean())
        above = changed[:middle].sum() / changed.sum()
        assert (above if PLACE[unit] > 0 else 1 - above) >= abs(PLACE[unit])


@pytest.mark.parametrize("unit", UNIT_COLUMNS)
def test_intensity_is_graded(unit: str) -> None:
    sizes = [change(FaceState(units=units_of(**{unit: level})), REST).sum() for level in (0.3, 0.6, 1.0)]
    assert 0 < sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(
    ("unit", "points", "direction"),
    [
        ("au01", [21, 22], (0, -1)),
        ("au02", [17, 18, 25, 26], (0, -1)),
        ("au04", [21, 22], (0, 1)),
        ("au05", [37, 38, 43, 44], (0, -1)),
        ("au06", [40, 41, 46, 47], (0, -1)),
        ("au12", [48, 54], (0, -1)),
        ("au17", [57], (0, -1)),
        ("au20", [54], (1, 0)),
        ("au25", [66], (0, 1)),
        ("au26", [8, 57], (0, 1)),
    ],
)
def test_units_move_their_landmarks(unit: str, points: list[int], direction: tuple[int, int]) -> None:
    moved = landmarks68(PERSON, FaceState(units=units_of(**{unit: 1.0})), SIZE) - landmarks68(PERSON, REST, SIZE)
    assert (moved[points] @ direction > 0.01 * SIZE).all()


@pytest.mark.parametrize(("asymmetry", "raised", "resting"), [(-1, 48, 54), (1, 54, 48)])
def test_a_lopsided_smile_raises_one_corner(asymmetry: float, raised: int, resting: int) -> None:
    state = FaceState(units=units_of(au12=1.0), asymmetry=asymmetry)
    rise = landmarks68(PERSON, REST, SIZE)[:, 1] - landmarks68(PERSON, state, SIZE)[:, 1]
    assert rise[raised] > 2
    assert rise[resting] < 0.35 * rise[raised]


def test_a_blink_covers_the_iris() -> None:
    def iris_pixels(state: FaceState) -> int:
        one, other = (render(replace(PERSON, iris=color), state, 128).astype(int) for color in ((1, 0, 0), (0, 1, 0)))
        return int((np.abs(one - other).max(axis=2) > 25).sum())

    assert iris_pixels(FaceState(blink=1)) < 0.1 * iris_pixels(REST)
    closed = landmarks68(PERSON, FaceState(blink=1), SIZE)
    assert np.abs(closed[37:39, 1] - closed[[41, 40], 1]).max() < 0.6


def test_gaze_moves_the_iris_only() -> None:
    def iris_column(gaze: tuple[float, float]) -> float:
        one, other = (
            render(replace(PERSON, iris=color), FaceState(gaze=gaze), 128).astype(int)
            for color in ((1, 0, 0), (0, 1, 0))
        )
        return float(np.nonzero(np.abs(one - other).max(axis=2) > 25)[1].mean())

    assert iris_column((0.8, 0)) > iris_column((0, 0)) + 1.5
    np.testing.assert_array_equal(landmarks68(PERSON, FaceState(gaze=(0.8, 0)), SIZE), landmarks68(PERSON, REST, SIZE))


def test_unknown_units_are_refused() -> None:
    with pytest.raises(ValueError, match="au03"):
        units_of(au03=1.0)
    with pytest.raises(ValueError, match="11 action units"):
        FaceState(units=(0.0, 1.0))
