"""Sampling by presentation time, against the plain definition."""

from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabnet.video.decode import displayed, samples, upright
from tests.code.clip_files import HEIGHT, WIDTH, number_of, write_clip

SHARED = Path(__file__).parents[2] / ".." / "shared" / "clips"


def on_display(times: list[Fraction], end: Fraction, fps: Fraction) -> list[int]:
    """For k = 0, 1 ...: the last of `times` (from the first on) that is not after k / fps, until `end`."""
    chosen: list[int] = []
    for k in count():
        if k / fps >= end - times[0]:
            return chosen
        chosen.append(max(i for i, time in enumerate(times) if time - times[0] <= k / fps))
    raise AssertionError


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(-50, 50),
    st.integers(1, 30),
    st.fractions(Fraction(1, 3), 12, max_denominator=7),
)
def test_displayed_follows_the_definition(gaps, start, last_duration, fps):
    times = [Fraction(start + sum(gaps[:i]), 10) for i in range(len(gaps))]
    last = Fraction(last_duration, 10)
    got = list(displayed(((time, last, i) for i, time in enumerate(times)), fps))
    expected = on_display(times, times[-1] + last, fps)
    assert [item for _, _, item in got] == expected
    assert [number for number, _, _ in got] == list(range(len(expected)))
    assert [time for _, time, _ in got] == [times[i] - times[0] for i in expected]


def test_nothing_is_displayed_of_nothing():
    assert list(displayed(iter([]), Fraction(1))) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("fps", [1.0, 2.5, 29.97])
def test_variable_rate_clip(tmp_path, suffix, fps):
    rng = np.random.default_rng(3)
    pts = np.concatenate([[0], np.cumsum(rng.integers(10, 400, 19))]).tolist()
    got = list(samples(write_clip(tmp_path / f"vfr{suffix}", pts), fps))
    times = [Fraction(time, 1000) for time in pts]
    # The muxers disagree about how long the last frame lasts; up to it there is no doubt.
    sure = on_display(times, times[-1], Fraction(str(fps)))
    shown = [number_of(sample.image.mean()) for sample in got]
    assert shown[: len(sure)] == sure
    assert set(shown[len(sure) :]) <= {len(pts) - 1}
    assert [sample.number for sample in got] == list(range(len(got)))
    np.testing.assert_allclose([sample.time_s for sample in got], [float(times[i]) for i in shown], atol=1e-3)


def test_times_count_from_the_first_frame(tmp_path):
    got = list(samples(write_clip(tmp_path / "late.mkv", [5000, 5400, 6000, 7100]), 1.0))
    assert [number_of(sample.image.mean()) for sample in got][:3] == [0, 2, 2]
    assert got[1].time_s == pytest.approx(1.0)


def test_one_frame_per_sample_at_its_own_rate(tmp_path):
    got = list(samples(write_clip(tmp_path / "slow.mp4", list(range(12)), rate=1), 1.0))
    assert [number_of(sample.image.mean()) for sample in got] == list(range(12))


def test_rotation_turns_the_picture_upright(tmp_path):
    still = next(samples(write_clip(tmp_path / "a.mp4", [0, 500, 1000]), 1.0)).image
    turned = next(samples(write_clip(tmp_path / "b.mp4", [0, 500, 1000], rotation=90), 1.0)).image
    assert still.shape == (HEIGHT, WIDTH, 3)
    assert turned.shape == (WIDTH, HEIGHT, 3)


def test_upright_is_counter_clockwise():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 2] = 255  # the top right corner comes to the top left
    assert upright(image, 90)[0, 0, 0] == 255
    assert upright(image, -90)[2, 1, 0] == 255
    assert upright(image, -180)[1, 0, 0] == 255
    assert upright(image, 0) is image


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize(
    ("name", "size", "seconds"),
    [
        ("pyfeat_single/noface_face.mov", (540, 960), 6.38),  # HEVC of variable rate
        ("retalk_1/1.mp4", (700, 700), 6.1),
        ("lp_d0/d0.mp4", (512, 512), 3.12),
    ],
)
def test_real_clip(name, size, seconds):
    got = list(samples(SHARED / name, 1.0))
    assert len(got) == np.ceil(seconds)
    assert {sample.image.shape[:2] for sample in got} == {size}
    assert all(0 <= sample.number - sample.time_s < 0.1 for sample in got)
    assert min(sample.image.std() for sample in got) > 10
