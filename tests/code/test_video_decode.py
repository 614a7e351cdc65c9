"""Sampling by presentation time, against the plain definition, and against decoding every frame."""

from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.video import decode, packets
from fabnet.video.decode import displayed, frames
from fabnet.video.packets import Grid
from fabnet.video.reject import Deadline, Rejected
from tests.code.clip_files import HEIGHT, WIDTH, number_of, picture, write_clip, write_pictures, write_sizes

SHARED = Path(__file__).parents[2] / ".." / "shared" / "clips"


def on_display(times: list[Fraction], end: Fraction, fps: Fraction) -> list[int]:
    """For k = 0, 1 ...: the last of `times` (from the first on) that is not after k / fps, until `end`."""
    chosen: list[int] = []
    for k in count():
        if k / fps >= end - times[0]:
            return chosen
        chosen.append(max(i for i, time in enumerate(times) if time - times[0] <= k / fps))
    raise AssertionError


def by_sample(path: Path, fps: float, **options) -> dict[int, tuple[float, np.ndarray]]:
    """Time and image at every sample; checks that frames come in order."""
    got = list(frames(path, fps, **options))
    assert [frame.time_s for frame in got] == sorted(frame.time_s for frame in got)
    numbers = [number for frame in got for number in frame.samples]
    assert numbers == sorted(set(numbers))
    return {number: (frame.time_s, frame.image) for frame in got for number in frame.samples}


def decode_everything(path: Path, fps: float) -> dict[int, tuple[float, np.ndarray]]:
    """The same, from the definition, up to the beginning of the last frame."""
    with av.open(str(path)) as container:
        every = [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24", interpolation=SAME_EVERYWHERE))
            for frame in container.decode(video=0)
        ]
    times = [time - every[0][0] for time, _ in every]
    assert times == sorted(times)
    chosen = on_display(times, times[-1] + Fraction(1, 10**9), Fraction(str(fps)))
    return {k: (float(times[i]), every[i][1]) for k, i in enumerate(chosen)}


def assert_same(got, expected):
    """At the samples of `expected`; how long the last frame lasts is the container's word."""
    assert list(got)[: len(expected)] == list(expected)
    for number, (time_s, image) in expected.items():
        assert got[number][0] == time_s
        np.testing.assert_array_equal(got[number][1], image)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(1, 30),
    st.fractions(Fraction(1, 3), 12, max_denominator=7),
    st.integers(0, 6),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(1, 4),
)
def test_displayed_follows_the_definition(gaps, last_duration, fps, first, length, every):
    times = [Fraction(sum(gaps[:i]), 10) for i in range(len(gaps))]
    end = times[-1] + Fraction(last_duration, 10)
    last = None if length is None else first + length
    items = [*((time, i) for i, time in enumerate(times)), (end, None)]
    got = list(displayed(items, Grid(fps, first, last), every if last is None else None))
    chosen = dict(enumerate(on_display(times, end, fps)))
    chosen = {k: i for k, i in chosen.items() if k >= first and (last is None or k <= last)}
    assert {k: i for samples, _, _, i in got for k in samples} == chosen
    looked_at = {i for i in range(len(times)) if last is None and every is not None and i % every == 0}
    assert {i for _, look, _, i in got if look} == looked_at
    assert [i for _, _, _, i in got] == sorted(set(chosen.values()) | looked_at)
    assert all(time == times[i] for _, _, time, i in got)


def test_nothing_is_displayed_of_nothing():
    assert list(displayed(iter([]), Grid(Fraction(1)))) == []


def test_years_of_one_frame():
    with pytest.raises(Rejected, match=r"truncated.*jump by 100000000 s"):
        list(displayed([(Fraction(0), 0), (Fraction(10**8), 1), (Fraction(10**8 + 1), None)], Grid(Fraction(1))))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("fps", [1.0, 2.5, 29.97])
def test_variable_rate_clip(tmp_path, suffix, fps):
    rng = np.random.default_rng(3)
    pts = np.concatenate([[0], np.cumsum(rng.integers(10, 400, 19))]).tolist()
    got = by_sample(write_clip(tmp_path / f"vfr{suffix}", pts), fps)
    times = [Fraction(time, 1000) for time in pts]
    # The muxers disagree about how long the last frame lasts; up to it there is no doubt.
    sure = on_display(times, times[-1], Fraction(str(fps)))
    shown = [number_of(image.mean()) for _, image in got.values()]
    assert shown[: len(sure)] == sure
    assert set(shown[len(sure) :]) <= {len(pts) - 1}
    assert list(got) == list(range(len(got)))
    np.testing.assert_allclose([time for time, _ in got.values()], [float(times[i]) for i in shown], atol=1e-3)


def test_a_frame_on_display_for_long_comes_once(tmp_path):
    got = list(frames(write_clip(tmp_path / "a.mp4", [0, 3500, 4000, 4100, 4200]), 1.0))
    assert [frame.samples for frame in got] == [(0, 1, 2, 3), (4,)]
    assert [frame.looked_at for frame in got] == [False, False]


def test_times_count_from_the_first_frame(tmp_path):
    got = by_sample(write_clip(tmp_path / "late.mkv", [5000, 5400, 6000, 7100]), 1.0)
    assert [number_of(image.mean()) for _, image in got.values()][:3] == [0, 2, 2]
    assert got[1][0] == pytest.approx(1.0)


def test_one_frame_per_sample_at_its_own_rate(tmp_path):
    got = by_sample(write_clip(tmp_path / "slow.mp4", list(range(12)), rate=1), 1.0)
    assert [number_of(image.mean()) for _, image in got.values()] == list(range(12))


H264 = {"preset": "fast", "bf": "3", "b-pyramid": "normal", "sc_threshold": "0"}
#: name: (suffix, codec, options)
CODINGS = {
    "one long group": (".mp4", "libx264", {**H264, "g": "1000"}),
    "short groups": (".mp4", "libx264", {**H264, "g": "12"}),
    "groups of a second": (".mkv", "libx264", {**H264, "g": "25"}),
    "odd groups": (".mov", "libx264", {**H264, "g": "7"}),
    "open groups": (".mp4", "libx264", {**H264, "g": "12", "x264-params": "open-gop=1"}),
    "picture that builds up": (".mp4", "libx264", {"g": "12", "x264-params": "intra-refresh=1"}),
    "start codes": (".ts", "libx264", {**H264, "g": "12"}),
    "no b-frames": (".avi", "libx264", {"bf": "0", "g": "12"}),
    "interlaced": (".mp4", "libx264", {**H264, "g": "12", "x264-params": "tff=1"}),
    "hevc": (".mp4", "libx265", {"preset": "fast", "x265-params": "log-level=none:keyint=12:open-gop=0"}),
    "hevc open groups": (".mkv", "libx265", {"preset": "fast", "x265-params": "log-level=none:keyint=12"}),
    "hevc layers": (".mp4", "libx265", {"preset": "fast", "x265-params": "log-level=none:keyint=40:temporal-layers=3"}),
    "mpeg4": (".mp4", "mpeg4", {"bf": "2", "g": "12"}),
    "vp9": (".webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "16"}),
}


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Clips of 160 frames, at a variable rate where the container allows it."""
    folder = tmp_path_factory.mktemp("coded")
    steps = np.random.default_rng(5).choice([30, 40, 50, 150], 159)
    paths = {}
    for name, (suffix, codec, options) in CODINGS.items():
        constant = suffix == ".avi" or codec == "mpeg4"
        pts = list(range(160)) if constant else [0, *np.cumsum(steps).tolist()]
        paths[name] = write_pictures(
            folder / f"{name}{suffix}", pts, codec, rate=25 if constant else 1000, options=options
        )
    return paths


@pytest.mark.parametrize("name", CODINGS)
def test_leaving_out_changes_nothing(coded, name):
    for fps in (0.3, 1.0, 7.5):
        assert_same(by_sample(coded[name], fps), decode_everything(coded[name], fps))


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("span", [(2.1, 4.0), (5.9, 6.2), (0.0, 0.1)])
def test_span_is_a_part_of_the_whole(coded, name, span, monkeypatch):
    monkeypatch.setattr(decode, "_SEEK_BEYOND_S", 1)
    expected = decode_everything(coded[name], 5.0)
    got = by_sample(coded[name], 5.0, span=span)
    assert list(got) == [number for number in expected if span[0] <= number / 5 <= span[1]]
    assert_same(got, {number: expected[number] for number in got})


def test_span_beyond_the_end(coded):
    assert list(frames(coded["short groups"], 1.0, span=(100, 200))) == []


def test_every_kth_frame_is_looked_at(coded):
    path = coded["short groups"]
    everything = by_sample(path, 1000.0)
    times = sorted({time_s for time_s, _ in everything.values()})
    got = list(frames(path, 1.0, every=7))
    assert [frame.time_s for frame in got if frame.looked_at] == times[::7]
    for frame in got:
        np.testing.assert_array_equal(frame.image, everything[round(frame.time_s * 1000)][1])
    assert_same({k: (f.time_s, f.image) for f in got for k in f.samples}, decode_everything(path, 1.0))
    assert any(frame.looked_at and frame.samples for frame in got)


@pytest.mark.parametrize(
    ("name", "grid", "most"),
    [
        ("groups of a second", Grid(Fraction(1)), 90),  # of 160 frames
        ("one long group", Grid(Fraction(1)), 110),
        ("hevc", Grid(Fraction(1)), 100),
        ("short groups", Grid(Fraction(1), 8, 9), 25),
        ("vp9", Grid(Fraction(1), 8, 9), 70),
        ("start codes", Grid(Fraction(1), 8, 9), 25),  # without an index there is no seek, but packets are passed over
    ],
)
def test_what_is_not_needed_is_not_decoded(coded, name, grid, most):
    came = sum(1 for _ in decode._timed_frames(coded[name], grid, False, Deadline(60)))
    assert came <= most


def test_large_packets_do_not_wait(coded, monkeypatch):
    monkeypatch.setattr(packets, "_WAITING_BYTES", 3000)
    for name in ("one long group", "short groups", "hevc open groups"):
        assert_same(by_sample(coded[name], 0.3), decode_everything(coded[name], 0.3))


def test_frames_without_display_times_come_in_order(tmp_path):
    options = {"bf": "3", "g": "12", "preset": "fast"}
    path = write_pictures(tmp_path / "a.avi", list(range(27)), options=options)  # the 28th would be much like the 21st
    got = list(frames(path, 1.0, every=1))
    assert len(got) == 27
    for number, frame in enumerate(got):
        differences = [np.abs(frame.image.astype(int) - picture(other)).mean() for other in range(27)]
        assert np.argmin(differences) == number


def test_size_may_change_on_the_way(tmp_path):
    path = write_sizes(tmp_path / "a.mkv", (64, 48), (96, 80))
    assert [frame.image.shape for frame in frames(path, 5.0)] == [(48, 64, 3)] * 5 + [(80, 96, 3)] * 5


@pytest.mark.parametrize(
    ("suffix", "codec", "size", "pix_fmt"),
    [
        (".mp4", "libx265", (64, 48), "yuv420p10le"),
        (".mp4", "libx264", (64, 48), "yuv420p10le"),
        (".mkv", "libx264", (63, 47), "yuv444p"),
        (".webm", "libvpx-vp9", (33, 17), "yuv420p"),
        (".gif", "gif", (63, 47), "rgb8"),
        (".avi", "mjpeg", (64, 48), "yuvj420p"),
    ],
)
def test_kinds_of_pictures(tmp_path, suffix, codec, size, pix_fmt):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_pictures(tmp_path / f"a{suffix}", list(range(20)), codec, size, pix_fmt, rate=10, options=options)
    got = list(frames(path, 2.0))
    assert [frame.samples for frame in got] == [(0,), (1,), (2,), (3,)]
    for number, frame in zip((0, 5, 10, 15), got, strict=True):
        assert np.abs(frame.image.astype(int) - picture(number, *size)).mean() < 25


def test_rotation_turns_the_picture_upright(tmp_path):
    still = next(frames(write_clip(tmp_path / "a.mp4", [0, 500, 1000]), 1.0)).image
    turned = next(frames(write_clip(tmp_path / "b.mp4", [0, 500, 1000], rotation=90), 1.0)).image
    assert still.shape == (HEIGHT, WIDTH, 3)
    assert turned.shape == (WIDTH, HEIGHT, 3)


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
    got = by_sample(SHARED / name, 1.0)
    assert len(got) == np.ceil(seconds)
    assert {image.shape[:2] for _, image in got.values()} == {size}
    assert all(0 <= number - time_s < 0.1 for number, (time_s, _) in got.items())
    assert min(image.std() for _, image in got.values()) > 10
    assert_same(got, decode_everything(SHARED / name, 1.0))
