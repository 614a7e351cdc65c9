"""Unannotated clips: faces are detected and tracked within each shot, and their boxes smoothed."""

import math
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.video.appearance import surroundings
from fabnet.video.clips import Clip
from fabnet.video.crop import square
from fabnet.video.detect import Detection, Detector, scaled
from fabnet.video.detectors import open_detector
from fabnet.video.faces import Face, FindFaces, Frame, Track, TrackEnd
from fabnet.video.frame_buffer import FrameBuffer
from fabnet.video.reject import Rejected
from fabnet.video.tracker import FaceTrack, Tracker

_SIDE = 48
_BINS = [8, 4, 4]  # of hue, saturation, value
_RANGES = [0, 180, 0, 256, 0, 256]

# Measured on 49 real clips without a cut. Of 1829 pairs of frames 0.2 s apart, the least share of colours was 0.87 and
# the least correlation of layouts 0.51; of 1633 pairs 1 s apart 0.77 and 0.48. With these thresholds none of them is a
# cut. 99.9 % of 2000 pairs of different recordings are; of pairs of people before the same studio background, half.
_MIN_SHARED = 0.7
_MIN_LAYOUT = 0.3
# Between two looks at the frames of a shot that search for every face; those between them follow the known ones.
_THOROUGH_S = 8.0

# Making an image darker or lighter by a half leaves 0.98.
_SAME_LAYOUT = 0.95

# Sizes of one film at several rates differ in shape by rounding to even numbers.
_MOST_STRETCH = 0.03


class ShotCuts:
    """Compares each frame with the one before it."""

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Whether `image` (H, W, 3), RGB, begins another shot than the image of the call before; False at first.

        It does where both the colours and where they lie have changed (a flash leaves the layout, a moving camera the
        colours), or where the layout has nothing left of what it was. A fade is no cut.
        """
        now = _colours_and_layout(image)
        before, self._before = self._before, now
        if before is None:
            return False
        shared = float(np.minimum(before[0], now[0]).sum())
        plain = not before[1].any() and not now[1].any()
        layout = 1.0 if plain else float((before[1] * now[1]).mean())
        return layout < _MIN_LAYOUT or (shared < _MIN_SHARED and layout < _SAME_LAYOUT)


def _colours_and_layout(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A histogram of HSV that sums to 1, and a blurred grey picture of mean 0 and variance 1 (0 for a plain one)."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1, 2], None, _BINS, _RANGES) / _SIDE**2
    grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _SIDE / 32)
    grey -= grey.mean()
    contrast = float(grey.std())
    return colours, grey / contrast if contrast >= 1 else np.zeros_like(grey)


def detect_and_track(clip: Clip, params: ExtractParams) -> FindFaces:
    """Finds faces by looking: several in a frame are several tracks, a cut ends them all, and a cut of a part of the
    picture those within. Where the film goes on in another size, tracks do with scaled boxes; another shape ends them.

    A sample waits until the boxes around it are final, so that the frames of up to 3 * smoothing_s + max_gap_s and one
    more look wait; FrameBuffer bounds the memory that they take. Tracks are numbered in the order in which they are
    confirmed.

    Args:
        clip: names the tracks.
        params: detection, tracking, margin and fps.

    Raises:
        ConfigError: see open_detector.
        Rejected: no_face, after the last frame. A track that was seen too rarely, or never clearly, ends as `lost`.
    """
    detector = open_detector(params.detection)

    def find(frames: Iterator[Frame]) -> Iterator[Face | TrackEnd]:
        with FrameBuffer() as waiting:
            search = _Search(clip, params, detector, waiting)
            for frame in frames:
                yield from search.take(frame)
            yield from search.end_shot()
        search.check_any_face()

    return find


class _Search:
    """The tracks of one clip, as far as it has been read."""

    def __init__(self, clip: Clip, params: ExtractParams, detector: Detector, waiting: FrameBuffer) -> None:
        self._clip, self._params, self._detector, self._waiting = clip, params, detector, waiting
        self._cuts = ShotCuts()
        self._tracker = Tracker(params.tracking)
        self._names: dict[FaceTrack, Track] = {}
        self._done: dict[FaceTrack, float] = {}  # time of the last frame that was dealt with
        self._look_s = self._thorough_s = -math.inf
        self._numbered = 0
        self._size: tuple[int, int] | None = None  # height and width of the frames that boxes of tracks refer to
        self._attempts = self._with_box = 0
        self._best = -math.inf  # score
        self._any_face = False  # whether any track was not a false alarm
        self._longest = 0  # side of the frames that were looked at, in pixels

    def take(self, frame: Frame) -> Iterator[Face | TrackEnd]:
        other_shape = self._size is not None and not _same_shape(self._size, frame.image.shape)
        if self._cuts.is_cut(frame.image) or other_shape:
            yield from self.end_shot()
        if frame.samples:
            self._waiting.append(frame)
        if self._wants(frame):
            yield from self._look(frame)

    def end_shot(self) -> Iterator[Face | TrackEnd]:
        for track in self._tracker.cut():
            yield from self._end(track)
        self._waiting.release(math.inf)
        self._thorough_s = -math.inf
        self._size = None

    def check_any_face(self) -> None:
        """Raises Rejected (no_face) if no track was a face."""
        if self._any_face:
            return
        if not self._attempts:
            raise Rejected("no_face", f"{self._detector.name} had no frame to look at")
        if not self._with_box:
            found = f"{self._detector.name} found no face in {self._attempts} frames looked at"
        else:
            found = (
                f"{self._detector.name} found a box in {self._with_box} of {self._attempts} frames looked at, best "
                f"score {self._best:g}, of {self._detector.min_score:g}, and no two that are one face"
            )
        raise Rejected("no_face", f"{found}{self._advice()}")

    def _wants(self, frame: Frame) -> bool:
        """Every k-th frame is looked at, and in between such samples that tracks do not end in a slow film."""
        since_s = frame.time_s - self._look_s
        return since_s > 0 and (frame.looked_at or since_s > self._params.tracking.max_gap_s / 2)

    def _look(self, frame: Frame) -> Iterator[Face | TrackEnd]:
        if self._size is None:
            self._size = frame.image.shape[0], frame.image.shape[1]
        scale = frame.image.shape[1] / self._size[1]
        expected = [scaled(track.path.last, scale) for track in self._tracker.tracks]
        thorough = frame.time_s - self._thorough_s >= _THOROUGH_S
        found = self._detector.find(frame.image, expected, thorough)
        self._attempts += 1
        self._longest = max(self._longest, *frame.image.shape[:2])
        self._with_box += bool(found)
        self._best = max([self._best, *(face.score for face in found)])
        ended = self._tracker.look(
            frame.time_s,
            [Detection(scaled(face.box, 1 / scale), face.score) for face in found] if scale != 1 else found,
            cache(lambda box: surroundings(frame.image, scaled(box, scale))),
        )
        self._look_s = frame.time_s
        self._thorough_s = frame.time_s if thorough else self._thorough_s
        for track in ended:
            yield from self._end(track)
        needed_s = frame.time_s
        for track in self._tracker.tracks:
            if track.confirmed:
                yield from self._faces(track, track.path.settle(frame.time_s))
            done_s = self._done.get(track, track.start_s)
            track.path.forget(done_s)
            needed_s = min(needed_s, done_s)
        self._waiting.release(needed_s)

    def _faces(self, track: FaceTrack, until_s: float) -> Iterator[Face]:
        """The faces of a track in the frames that wait, up to a time up to which its path is final."""
        if track not in self._names:
            self._names[track] = self._clip.track(self._numbered)
            self._numbered += 1
        done_s = self._done.get(track, track.start_s)
        for frame in self._waiting.between(done_s, until_s):
            scale = frame.image.shape[1] / self._size[1] if self._size else 1.0
            found = track.path.at(frame.time_s)
            box = square(scaled(found.box, scale), self._params.margin)
            if not box.touches(frame.image.shape[1], frame.image.shape[0]):
                continue  # the smoothed path of a face on its way out
            score = found.score if self._detector.probability else None
            for number in frame.samples:
                yield Face(self._names[track], number, frame.time_s, frame.image, box, score)
        self._done[track] = max(done_s, until_s)

    def _end(self, track: FaceTrack) -> Iterator[Face | TrackEnd]:
        if track.confirmed:
            yield from self._faces(track, track.end_s)
            yield TrackEnd(self._names.pop(track), self._verdict(track), replaced=track.replaced)
        self._done.pop(track, None)

    def _advice(self) -> str:
        """What may help a small face, where frames were made smaller to be looked at."""
        looked_at = self._params.detection.looked_at_side
        if self._longest <= looked_at:
            return ""
        return f"; a small face wants a larger extract.detection.longest_side than {looked_at}"

    def _verdict(self, track: FaceTrack) -> Rejected | None:
        seen = f"seen in {track.found} of {track.attempts} frames looked at, best score {track.score:g}"
        least = self._detector.min_score
        if track.score < least:
            return Rejected("lost", f"{seen}: never clearly, which is {least:g}{self._advice()}")
        self._any_face = True
        if track.found < self._params.tracking.min_found * track.attempts:
            return Rejected(
                "lost",
                f"{seen}; extract.tracking.min_found asks for {100 * self._params.tracking.min_found:g} % of them",
            )
        return None


def _same_shape(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) are one picture made larger or smaller."""
    return bool(abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= _MOST_STRETCH)
