"""Clips of which nobody has said where the faces are: they are detected, tracked, and their boxes smoothed."""

import math
from collections.abc import Iterator

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip
from fabnet.video.crop import square
from fabnet.video.detect import Detector, open_detector
from fabnet.video.faces import Face, FindFaces, Frame, Track, TrackEnd
from fabnet.video.held_frames import HeldFrames
from fabnet.video.reject import Rejected
from fabnet.video.shots import ShotCuts
from fabnet.video.tracker import FaceTrack, Tracker


def detected(clip: Clip, params: ExtractParams) -> FindFaces:
    """Finds faces by looking: several in a frame are several tracks, a cut ends them all.

    A sample waits until the boxes around it are final, so that the frames of up to 3 * smoothing_s + max_gap_s and one
    more look are held; HeldFrames bounds the memory that they take. Tracks are numbered in the order in which they are
    believed.

    Raises:
        ConfigError: see open_detector.
        Rejected: no_face, after the last frame. A track that was seen too rarely, or never clearly, ends as `lost`.
    """
    detector = open_detector(params.detection)

    def find(frames: Iterator[Frame]) -> Iterator[Face | TrackEnd]:
        with HeldFrames() as held:
            search = _Search(clip, params, detector, held)
            for frame in frames:
                yield from search.take(frame)
            yield from search.end_shot()
        if not search.sure:
            raise Rejected("no_face", f"{detector.name} found no face in {search.looks} frames looked at")

    return find


class _Search:
    """The tracks of one clip, as far as it has been read."""

    def __init__(self, clip: Clip, params: ExtractParams, detector: Detector, held: HeldFrames) -> None:
        self._clip, self._params, self._detector, self._held = clip, params, detector, held
        self._cuts = ShotCuts()
        self._tracker = Tracker(params.tracking)
        self._names: dict[FaceTrack, Track] = {}
        self._done: dict[FaceTrack, float] = {}  # time of the last frame that was dealt with
        self._look_s = -math.inf
        self._numbered = 0
        self.looks = 0
        self.sure = False  # whether any track was no error of the detector

    def take(self, frame: Frame) -> Iterator[Face | TrackEnd]:
        if self._cuts.is_cut(frame.image):
            yield from self.end_shot()
        if frame.samples:
            self._held.append(frame)
        if self._wants(frame):
            yield from self._look(frame)

    def end_shot(self) -> Iterator[Face | TrackEnd]:
        for track in self._tracker.cut():
            yield from self._end(track)
        self._held.release(math.inf)

    def _wants(self, frame: Frame) -> bool:
        """Every k-th frame is looked at, and in between such samples that tracks do not end in a slow film."""
        since_s = frame.time_s - self._look_s
        return since_s > 0 and (frame.looked_at or since_s > self._params.tracking.max_gap_s / 2)

    def _look(self, frame: Frame) -> Iterator[Face | TrackEnd]:
        expected = [track.path.last for track in self._tracker.tracks]
        ended = self._tracker.look(frame.time_s, self._detector.find(frame.image, expected))
        self._look_s = frame.time_s
        self.looks += 1
        for track in ended:
            yield from self._end(track)
        needed_s = frame.time_s
        for track in self._tracker.tracks:
            if track.believed:
                yield from self._faces(track, track.path.settle(frame.time_s))
            done_s = self._done.get(track, track.start_s)
            track.path.forget(done_s)
            needed_s = min(needed_s, done_s)
        self._held.release(needed_s)

    def _faces(self, track: FaceTrack, until_s: float) -> Iterator[Face]:
        """The faces of a track in the frames held, up to a time up to which its path is final."""
        if track not in self._names:
            self._names[track] = self._clip.track(self._numbered)
            self._numbered += 1
        done_s = self._done.get(track, track.start_s)
        for frame in self._held.between(done_s, until_s):
            box = square(track.path.at(frame.time_s), self._params.margin)
            if not box.touches(frame.image.shape[1], frame.image.shape[0]):
                continue  # the smoothed path of a face on its way out
            for number in frame.samples:
                yield Face(self._names[track], number, frame.time_s, frame.image, box)
        self._done[track] = max(done_s, until_s)

    def _end(self, track: FaceTrack) -> Iterator[Face | TrackEnd]:
        if track.believed:
            yield from self._faces(track, track.end_s)
            yield TrackEnd(self._names.pop(track), self._verdict(track))
        self._done.pop(track, None)

    def _verdict(self, track: FaceTrack) -> Rejected | None:
        if track.score < self._detector.sure:
            return Rejected("lost", f"never seen clearly: best score {track.score:g}, of {self._detector.sure:g}")
        self.sure = True
        if track.found < self._params.tracking.min_found * track.looks:
            return Rejected("lost", f"seen in {track.found} of {track.looks} frames looked at")
        return None
