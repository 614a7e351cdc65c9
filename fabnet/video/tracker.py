"""Detections in one image after another become tracks: one face through one shot."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fabnet.config import TrackingParams
from fabnet.video.crop import Box
from fabnet.video.detect import Detection
from fabnet.video.smoothing import BoxPath

# One detection alone is taken for an error of the detector.
_BELIEVED = 2


class FaceTrack:
    """A face through one shot, as far as it has been seen.

    Attributes:
        path: its boxes.
        start_s, end_s: it holds the frames with start_s < time <= end_s; end_s is infinite where nothing but the end
            of the shot ends it. A frame that no detector looked at belongs to it if the nearest that one did does.
        found: number of looks that found it.
        looks: number of looks from the first to the last that found it.
        missed_looks: number of looks since the last that found it.
        score: the best of its detections.
    """

    def __init__(self, start_s: float, smoothing_s: float) -> None:
        self.path = BoxPath(smoothing_s)
        self.start_s, self.end_s = start_s, math.inf
        self.found = self.looks = 0
        self.score = -math.inf
        self.missed_looks = 0
        self._missed_s = math.inf  # the first look since `found` grew that did not find it

    @property
    def believed(self) -> bool:
        return self.found >= _BELIEVED

    def seen(self, time_s: float, detection: Detection) -> None:
        self.path.add(time_s, detection.box)
        self.score = max(self.score, detection.score)
        self.found += 1
        self.looks += self.missed_looks + 1
        self.missed_looks, self._missed_s = 0, math.inf

    def missed(self, time_s: float) -> None:
        self.missed_looks += 1
        self._missed_s = min(self._missed_s, time_s)

    def unseen_s(self, time_s: float) -> float:
        """How long before `time_s` it was last seen; 0 where no look has missed it since."""
        return time_s - self.path.last_s if self.missed_looks else 0.0

    def end(self) -> None:
        self.end_s = (self.path.last_s + self._missed_s) / 2
        self.path.close()


class Tracker:
    """Joins detections to tracks by the overlap of a track's last box and the next one.

    Attributes:
        tracks: those that have not ended, by their beginning.
    """

    def __init__(self, params: TrackingParams) -> None:
        self._params = params
        self.tracks: list[FaceTrack] = []
        self._look_s: float | None = None  # the last one in this shot

    def look(self, time_s: float, detections: Sequence[Detection]) -> list[FaceTrack]:
        """Take what the detector found at a time. Returns the tracks that this ends.

        Pairs of a track and a detection are chosen such that their overlaps have the largest sum; those that overlap by
        less than `min_overlap` are none. A detection without a track begins one.
        """
        limit_s = self._params.max_gap_s
        ended = self._end([track for track in self.tracks if track.unseen_s(time_s) > limit_s])
        pairs = self._pairs([detection.box for detection in detections])
        for i, track in enumerate(self.tracks):
            if i in pairs:
                track.seen(time_s, detections[pairs[i]])
            else:
                track.missed(time_s)
        for j in sorted(set(range(len(detections))) - set(pairs.values())):
            start_s = -math.inf if self._look_s is None else (self._look_s + time_s) / 2
            track = FaceTrack(start_s, self._params.smoothing_s)
            track.seen(time_s, detections[j])
            self.tracks.append(track)
        self._look_s = time_s
        return ended + self._end([track for track in self.tracks if track.unseen_s(time_s) >= limit_s])

    def cut(self) -> list[FaceTrack]:
        """A shot ends. Returns the tracks that this ends: all of them."""
        self._look_s = None
        return self._end(list(self.tracks))

    def _end(self, tracks: list[FaceTrack]) -> list[FaceTrack]:
        for track in tracks:
            track.end()
            self.tracks.remove(track)
        return tracks

    def _pairs(self, boxes: Sequence[Box]) -> dict[int, int]:
        """{number of a track: number of its box}"""
        last = [track.path.last for track in self.tracks]
        pairs = _assigned(last, boxes, range(len(last)), range(len(boxes)), self._params.min_overlap)
        # A small face moves by half its side between two looks: what is left over is compared with a wider view, but
        # only for tracks of the look before, lest one whose face is gone takes to something near it.
        tracks = [i for i, track in enumerate(self.tracks) if i not in pairs and not track.missed_looks]
        free = sorted(set(range(len(boxes))) - set(pairs.values()))
        wide = [_doubled(box) for box in last], [_doubled(box) for box in boxes]
        return pairs | _assigned(*wide, tracks, free, self._params.min_overlap)


def _assigned(
    ones: Sequence[Box], others: Sequence[Box], rows: Sequence[int], columns: Sequence[int], min_overlap: float
) -> dict[int, int]:
    """Pairs of the boxes with these numbers whose overlaps have the largest sum, none less than `min_overlap`."""
    if not rows or not columns:
        return {}
    overlaps = overlap([ones[i] for i in rows], [others[j] for j in columns])
    possible = np.where(overlaps >= min_overlap, overlaps, 0.0)
    chosen = zip(*linear_sum_assignment(possible, maximize=True), strict=True)
    return {rows[int(i)]: columns[int(j)] for i, j in chosen if possible[i, j] > 0}


def _doubled(box: Box) -> Box:
    """The box with twice its sides about the same centre."""
    width, height = (box.right - box.left) / 2, (box.bottom - box.top) / 2
    return Box(box.left - width, box.top - height, box.right + width, box.bottom + height)


def overlap(ones: Sequence[Box], others: Sequence[Box]) -> NDArray[np.float64]:
    """Intersection over union of each of N boxes with each of M, (N, M)."""
    a, b = _edges(ones)[:, None], _edges(others)[None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    both = sides.prod(axis=-1)
    areas = [(edges[..., 2:] - edges[..., :2]).prod(axis=-1) for edges in (a, b)]
    return both / (areas[0] + areas[1] - both)


def _edges(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
