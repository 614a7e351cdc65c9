"""The finder of faces on made films, with a detector that is told what to find; and the frames that it holds."""

import math
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from fabnet.config import ExtractParams
from fabnet.video import detect_and_track as module
from fabnet.video.clips import Clip
from fabnet.video.crop import Box, square
from fabnet.video.detect import Detection
from fabnet.video.detect_and_track import detect_and_track
from fabnet.video.detectors import open_detector
from fabnet.video.faces import Face, Frame, TrackEnd
from fabnet.video.frame_buffer import FrameBuffer
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Folder
from fabnet.video.tracker import BoxPath, overlap


def at(x, y=50.0, side=20.0, score=50.0):
    return Detection(Box(x, y, x + side, y + side), score)


def test_held_frames_come_back_from_memory_and_file():
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (20 + i % 2, 30, 3), dtype=np.uint8) for i in range(60)]
    with FrameBuffer(in_memory=10_000) as held:
        for i, image in enumerate(images):
            held.append(Frame(float(i), (i,), False, image))
            held.release(i - 12.0)
            for frame in held.between(i - 9.0, i - 1.0):
                assert i - 9 < frame.time_s <= i - 1
                np.testing.assert_array_equal(frame.image, images[frame.samples[0]])
            assert len(held) == min(i + 1, 12)
        assert held._end <= 14 * 21 * 30 * 3  # places are used again
        held.release(math.inf)
        assert len(held) == 0


PLAIN = np.random.default_rng(6).integers(90, 120, (100, 200, 3), dtype=np.uint8)
CLIP = Clip(Path("v/a/c.mp4"), "a/c.mp4", "a", "c")


class Told:
    """A detector that finds what a function of the time says."""

    name, version, min_score = "told", "1", 10.0

    def __init__(self, faces, probability=False):
        self.probability = probability
        self.faces, self.times, self.thorough, self.now = faces, [], [], 0.0

    def find(self, image, expected=(), thorough=True):
        self.times.append(self.now)
        self.thorough.append(thorough)
        return self.faces(self.now)


def search(
    monkeypatch, faces, seconds, rate=25, fps=4.0, every=5, image=lambda time: PLAIN, probability=False, **tracking
):
    """Run `detected` over a made film; {track id: faces}, {track id: end}, the detector."""
    params = ExtractParams.standalone(
        videos=Path("v"), source="folder", fps=fps, detection={"every": every}, tracking={"max_gap_s": 1.0} | tracking
    )
    told = Told(faces, probability)
    monkeypatch.setattr(module, "open_detector", lambda params: told)

    def film():
        numbers = round(seconds * rate)
        for i in range(numbers):
            samples = tuple(k for k in range(round(seconds * fps)) if i / rate <= k / fps < (i + 1) / rate)
            if samples or i % every == 0:
                told.now = i / rate
                yield Frame(i / rate, samples, i % every == 0, image(i / rate))

    found, ends = {}, {}
    for event in detect_and_track(CLIP, params)(film()):
        if isinstance(event, Face):
            assert event.track.id not in ends
            found.setdefault(event.track.id, []).append(event)
        else:
            ends[event.track.id] = event
    for of_track in found.values():
        numbers = [face.number for face in of_track]
        assert numbers == sorted(set(numbers))
    return found, ends, told


def test_a_still_face_is_found_in_every_sample(monkeypatch):
    found, ends, told = search(monkeypatch, lambda time: [at(70)], 4.1)
    assert list(ends.values()) == [TrackEnd(CLIP.track(0))]
    assert [face.number for face in found["a/c/c/0"]] == list(range(16))
    assert {face.box for face in found["a/c/c/0"]} == {Box(70, 50, 90, 70)}
    assert all(face.image is PLAIN for face in found["a/c/c/0"])
    np.testing.assert_allclose(told.times, np.arange(21) * 0.2)


def test_boxes_are_those_of_the_whole_path(monkeypatch):
    rng = np.random.default_rng(7)
    noise = {round(0.2 * i, 6): rng.normal(0, 2) for i in range(60)}
    found, _, _ = search(monkeypatch, lambda time: [at(40 + 3 * time + noise[round(time, 6)])], 12, fps=25)
    times = sorted(noise)
    path = BoxPath(ExtractParams.standalone(videos="v").tracking.smoothing_s)
    for time in times:
        path.add(time, at(40 + 3 * time + noise[time]))
    path.close()
    assert len(found["a/c/c/0"]) == 300
    for face in found["a/c/c/0"]:
        assert face.box == square(path.at(face.time_s).box, 0.0)


def test_scores_are_those_of_the_looks_around(monkeypatch):
    """Two faces at once, one of them missed by a look, in a film that changes its size on the way."""
    small = cv2.resize(PLAIN, (100, 50), interpolation=cv2.INTER_AREA)
    scores = dict(zip(np.round(np.arange(0, 6, 0.2), 6), np.random.default_rng(9).uniform(20, 40, 30), strict=True))
    size = lambda time: 0.5 if 2 <= time < 4 else 1.0  # noqa: E731

    def faces(time):
        left, right = (
            Detection(Box(*(size(time) * edge for edge in edges)), score)
            for edges, score in (
                ((20, 30, 60, 70), scores[round(time, 6)]),
                ((120, 30, 160, 70), scores[round(time, 6)] / 2),
            )
        )
        return [left] if math.isclose(time, 3.0) else [left, right]

    image = lambda time: small if 2 <= time < 4 else PLAIN  # noqa: E731
    found, _, _ = search(monkeypatch, faces, 6, fps=25, image=image, probability=True)
    times = list(scores)
    seen = [time for time in times if not math.isclose(time, 3.0)]
    for of_track, factor, at_times in ((found["a/c/c/0"], 1, times), (found["a/c/c/1"], 0.5, seen)):
        expected = np.interp([face.time_s for face in of_track], at_times, [factor * scores[time] for time in at_times])
        np.testing.assert_allclose([face.score for face in of_track], expected)
        assert len(of_track) == 150


def test_scores_on_a_scale_of_their_own_are_none_of_a_face(monkeypatch):
    found, _, _ = search(monkeypatch, lambda time: [at(70)], 2)
    assert {face.score for face in found["a/c/c/0"]} == {None}


def test_several_faces_are_several_tracks_by_their_beginning(monkeypatch):
    def faces(time):
        return ([at(100)] if time > 1 else []) + [at(10)] * (time < 5)

    found, ends, _ = search(monkeypatch, faces, 8)
    assert [end.rejected for end in ends.values()] == [None, None]
    assert [face.number / 4 for face in found["a/c/c/0"]] == list(np.arange(20) / 4)
    # The first look that finds it is at 1.2 s, so that 1.1 s on are its own.
    assert [face.number / 4 for face in found["a/c/c/1"]] == list(np.arange(5, 32) / 4)


def test_a_cut_between_two_looks_parts_the_samples(monkeypatch):
    other = np.random.default_rng(8).integers(0, 30, (100, 200, 3), dtype=np.uint8)
    other[:, 100:] += 200
    found, ends, _ = search(
        monkeypatch, lambda time: [at(70)], 4, fps=25, image=lambda time: PLAIN if time < 2.1 else other
    )
    assert len(ends) == 2
    assert [face.number for face in found["a/c/c/0"]] == list(range(53))
    assert [face.number for face in found["a/c/c/1"]] == list(range(53, 100))


def test_a_shot_is_searched_thoroughly_at_first_and_every_8_s(monkeypatch):
    other = np.random.default_rng(8).integers(0, 30, (100, 200, 3), dtype=np.uint8)
    other[:, 100:] += 200
    *_, told = search(monkeypatch, lambda time: [at(70)], 12, image=lambda time: PLAIN if time < 2.1 else other)
    thorough = [time for time, each in zip(told.times, told.thorough, strict=True) if each]
    assert thorough == pytest.approx([0.0, 2.2, 10.4])  # 10.2 - 2.2 is a little below 8 in floating point


def test_errors_of_the_detector_die(monkeypatch):
    def faces(time):
        blip = [at(100)] if math.isclose(time, 2.0) else []
        rare = [at(150)] if round(time / 0.2) % 4 == 0 else []
        weak = [at(30, score=5.0)]
        return [at(70), *blip, *rare, *weak]

    found, ends, _ = search(monkeypatch, faces, 4.8)
    kept = [name for name, end in ends.items() if end.rejected is None]
    assert {face.box.left for name in kept for face in found[name]} == {70}
    reasons = sorted((end.rejected.reason, end.rejected.detail) for end in ends.values() if end.rejected)
    assert [reason for reason, _ in reasons] == ["lost"] * len(reasons)
    assert any(each.endswith("best score 5: never clearly, which is 10") for _, each in reasons)
    rare = "seen in 6 of 21 frames looked at, best score 50; extract.tracking.min_found asks for 50 % of them"
    assert ("lost", rare) in reasons


def test_a_clip_without_a_face(monkeypatch):
    for faces in (lambda time: [], lambda time: [at(70)] if time == 1 else [], lambda time: [at(70, score=9.0)]):
        with pytest.raises(Rejected) as rejected:
            search(monkeypatch, faces, 2)
        assert rejected.value.reason == "no_face"
    with pytest.raises(Rejected, match="no_face"):
        search(monkeypatch, lambda time: [at(70)], 0)


def test_in_a_slow_film_every_sample_is_looked_at(monkeypatch):
    found, ends, told = search(monkeypatch, lambda time: [at(70 + time)], 20, rate=1, fps=1)
    assert told.times == list(range(20))
    assert len(found["a/c/c/0"]) == 20
    assert len(ends) == 1


def test_faces_at_the_border_keep_their_whole_square(monkeypatch):
    found, _, _ = search(monkeypatch, lambda time: [at(-6, 85)], 2)
    assert {face.box for face in found["a/c/c/0"]} == {Box(-6, 85, 14, 105)}


def test_memory_is_flat_in_the_length_of_the_film(monkeypatch):
    def peak(seconds):
        tracemalloc.start()
        try:
            params = ExtractParams.standalone(videos=Path("v"), source="folder", fps=25)
            told = Told(lambda time: [at(70)])
            monkeypatch.setattr(module, "open_detector", lambda params: told)

            def film():
                for i in range(seconds * 25):
                    told.now = i / 25
                    yield Frame(i / 25, (i,), i % 5 == 0, PLAIN.copy())

            assert sum(1 for event in detect_and_track(CLIP, params)(film())) == seconds * 25 + 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Frames of 3 * 0.5 s, and of two looks.
    assert peak(10) < 50 * PLAIN.nbytes
    assert peak(60) < 1.1 * peak(10)


# -- sizes, reasons and faults of real films ------------------------------------------------------------------------


def test_boxes_follow_a_film_that_changes_its_size(monkeypatch):
    """As in the same film at one size: the box is scaled, not averaged over both."""
    small = cv2.resize(PLAIN, (100, 50), interpolation=cv2.INTER_AREA)
    size = lambda time: 0.5 if 2 <= time < 4 else 1.0  # noqa: E731
    told = lambda time: [Detection(Box(*(size(time) * edge for edge in (70, 30, 110, 70))), 50.0)]  # noqa: E731
    found, ends, _ = search(monkeypatch, told, 6, image=lambda time: small if 2 <= time < 4 else PLAIN)
    assert [end.rejected for end in ends.values()] == [None]
    for face in found["a/c/c/0"]:
        width = face.image.shape[1]
        assert face.box == Box(*(width / 200 * edge for edge in (70, 30, 110, 70)))


def test_another_shape_ends_the_tracks(monkeypatch):
    tall = cv2.resize(PLAIN, (150, 100), interpolation=cv2.INTER_AREA)
    _, ends, _ = search(monkeypatch, lambda time: [at(70)], 4, image=lambda time: PLAIN if time < 2 else tall)
    assert len(ends) == 2


def test_why_no_face_was_found(monkeypatch):
    with pytest.raises(Rejected, match=r"told found no face in 10 frames looked at'\)$"):
        search(monkeypatch, lambda time: [], 2)
    wide = np.zeros((8, 1928, 3), np.uint8)  # the detector gets it smaller
    with pytest.raises(Rejected, match=r"told found no face in 10 frames looked at; .*longest_side than 1920"):
        search(monkeypatch, lambda time: [], 2, image=lambda time: wide)
    with pytest.raises(Rejected, match=r"found a box in 10 of 10 frames looked at, best score 9, of 10, and no two"):
        search(monkeypatch, lambda time: [at(70, score=9.0)], 2)


FAULTS = Path(__file__).parents[2] / ".." / "shared" / "faults"


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the shared inputs are not here")
@pytest.mark.parametrize(("name", "ends"), [("speaker", [2.9, 5.9, 8.9]), ("lecture", [2.9, 5.9])])
def test_another_speaker_is_another_track(name, ends):
    params = ExtractParams.standalone(videos=FAULTS, source="folder", fps=5)
    clip = Clip(FAULTS / f"5/{name}.mp4", f"{name}.mp4", "a", "b")
    last: dict[str, float] = {}
    for event in Folder(params).find(clip)(Folder(params).frames(clip)):
        if isinstance(event, Face):
            last[event.track.id] = event.number / 5
    assert list(last.values()) == pytest.approx(ends, abs=0.15)


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the shared inputs are not here")
@pytest.mark.parametrize("name", ["res75", "res83"])
def test_sizes_of_real_faces(name):
    """A box is where the detector sees the face in a frame of that size."""
    params = ExtractParams.standalone(videos=FAULTS, source="folder", fps=2)
    clip, detector = Clip(FAULTS / f"4/{name}.webm", f"{name}.webm", "a", "b"), open_detector(params.detection)
    faces = [each for each in Folder(params).find(clip)(Folder(params).frames(clip)) if isinstance(each, Face)]
    assert len({face.image.shape for face in faces}) > 1
    for face in faces:
        (seen,) = detector.find(face.image)[:1]
        assert overlap([face.box], [seen.box])[0, 0] >= 0.8
