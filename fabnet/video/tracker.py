"""Faces found in frames become tracks, each with a path of its box that is smoothed over time."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fabnet.config import TrackingParams
from fabnet.video.appearance import RECENT, change, changed
from fabnet.video.crop import Box
from fabnet.video.detect import Detection, merged, overlaps, shared

# The Gaussian is cut off at this many standard deviations.
_REACH = 3.0

# A box that shares more of the smaller one with a track that a look has missed is of its face.
_ONE_FACE = 0.3

#: What lies around a box of the picture that is looked at; see `fabnet.video.appearance.surroundings`.
View: TypeAlias = Callable[[Box], NDArray[np.int16]]

# One detection alone is taken for an error of the detector.
_CONFIRMED_AFTER = 2


class BoxPath:
    """A face's boxes and their scores by increasing time, read while they are still being added.

    At the time of each added box, the smoothed path is the value there of the straight line that fits the boxes around
    best, weighted by a Gaussian of their distance in time. Far from the ends that is the Gaussian filter; at the ends a
    mere weighted mean would lag behind a moving face. Between those times the path is linear, beyond them constant.
    Scores are read likewise, but not smoothed, so that they stay between those around.

    Args:
        smoothing_s: standard deviation of the Gaussian; 0 does not smooth.
    """

    def __init__(self, smoothing_s: float) -> None:
        self._smoothing_s = smoothing_s
        self._times: list[float] = []
        self._edges: list[NDArray[np.float64]] = []
        self._scores: list[float] = []
        self._smoothed: list[NDArray[np.float64]] = []  # of the first so many times: those that are final
        self._closed = False

    @property
    def last(self) -> Box:
        """The box that was added last, as it was found."""
        return Box(*self._edges[-1].tolist())

    @property
    def last_s(self) -> float:
        return self._times[-1]

    def __len__(self) -> int:
        """Number of boxes that are held."""
        return len(self._times)

    def add(self, time_s: float, face: Detection) -> None:
        """The next box.

        Args:
            time_s: seconds after the clip's first frame; later than the one before.
            face: its box in pixels of the shot's first frame, and its score.
        """
        if self._closed or (self._times and time_s <= self._times[-1]):
            raise ValueError(f"a box at {time_s} s comes too late")
        self._times.append(time_s)
        self._edges.append(np.array(astuple(face.box)))
        self._scores.append(face.score)

    def close(self) -> None:
        """No more boxes will be added: all of the path is final."""
        self._closed = True
        self.settle(math.inf)

    def settle(self, now_s: float) -> float:
        """No box will be added before or at `now_s`. Returns the time up to which the path is final (-inf: nowhere)."""
        reach = _REACH * self._smoothing_s
        for i in range(len(self._smoothed), len(self._times)):
            if not self._closed and now_s < self._times[i] + reach:
                break
            self._smoothed.append(self._smooth(i))
        if self._closed:
            return math.inf
        return self._times[len(self._smoothed) - 1] if self._smoothed else -math.inf

    def at(self, time_s: float) -> Detection:
        """The box and the score at a time where the path is final."""
        after = bisect_left(self._times, time_s)
        if after > len(self._smoothed) - (not self._closed):
            raise ValueError(f"the path is not final at {time_s} s")
        if after == 0 or after == len(self._smoothed):
            nearest = min(after, len(self._smoothed) - 1)
            edges, score = self._smoothed[nearest], self._scores[nearest]
        else:
            before_s, after_s = self._times[after - 1], self._times[after]
            share = (time_s - before_s) / (after_s - before_s)
            edges = (1 - share) * self._smoothed[after - 1] + share * self._smoothed[after]
            score = (1 - share) * self._scores[after - 1] + share * self._scores[after]
        return Detection(Box(*edges.tolist()), score)

    def forget(self, before_s: float) -> None:
        """Drop what the path from `before_s` on does not need."""
        final = len(self._smoothed)
        if final == 0:
            return
        # Smoothing the next box looks back from it; reading at `before_s` needs the box before that.
        next_s = self._times[min(final, len(self._times) - 1)]
        from_s = min(before_s, next_s - _REACH * self._smoothing_s)
        count = min(bisect_left(self._times, from_s) - 1, final - 1)
        if count > 0:
            del self._times[:count], self._edges[:count], self._scores[:count], self._smoothed[:count]

    def _smooth(self, index: int) -> NDArray[np.float64]:
        if self._smoothing_s == 0:
            return self._edges[index]
        reach = _REACH * self._smoothing_s
        centre = self._times[index]
        first = bisect_left(self._times, centre - reach)
        since = np.array([time for time in islice(self._times, first, None) if time <= centre + reach]) - centre
        edges = np.stack(self._edges[first : first + len(since)])
        weights = np.exp(-0.5 * (since / self._smoothing_s) ** 2)
        weights /= weights.sum()
        mean_s = weights @ since
        mean = weights @ edges
        spread = weights @ (since - mean_s) ** 2
        if spread == 0:
            return mean
        slope = (weights * (since - mean_s)) @ edges / spread
        return mean - slope * mean_s


class FaceTrack:
    """A face through one shot, as far as it has been seen.

    Attributes:
        path: its boxes and their scores.
        start_s, end_s: it holds the frames with start_s < time <= end_s; end_s is infinite where nothing but the end
            of the shot ends it. A frame that no detector looked at belongs to it if the nearest that one did does.
        found: number of detections.
        attempts: number of frames searched from its first detection to its last.
        failures: number of frames searched since its last detection.
        score: the best of its detections.
        look: what lay around its last box; None where nobody told.
        instead_of: a track that was missed where this one began, and may be of the same face.
        replaced: whether, within the shot, another face came in its place: its surroundings became others there.
    """

    def __init__(self, start_s: float, smoothing_s: float) -> None:
        self.look: NDArray[np.int16] | None = None
        self.instead_of: FaceTrack | None = None
        self.replaced = False
        self._changes = deque[float](maxlen=RECENT)
        self._change = 0.0  # of the look that is being taken
        self.path = BoxPath(smoothing_s)
        self.start_s, self.end_s = start_s, math.inf
        self.found = self.attempts = 0
        self.score = -math.inf
        self.failures = 0
        self._missed_s = math.inf  # time of the first of these failures

    @property
    def confirmed(self) -> bool:
        return self.found >= _CONFIRMED_AFTER

    def seen(self, time_s: float, detection: Detection, look: NDArray[np.int16] | None = None) -> None:
        """A look found it.

        Args:
            time_s: of the look, in seconds after the clip's first frame.
            detection: its box in pixels, and its score.
            look: what lies around the box, (16, 16, 3); see `fabnet.video.appearance.surroundings`.
        """
        if look is not None and self.look is not None:
            self._changes.append(self._change)
        self.path.add(time_s, detection)
        self.look = look
        self.score = max(self.score, detection.score)
        self.found += 1
        self.attempts += self.failures + 1
        self.failures, self._missed_s = 0, math.inf

    def expect_changes_of(self, replaced: "FaceTrack") -> None:
        """Take over what the first two looks at a face told, if it was ended at the second.

        Where a face moves fast before a busy background, each look would end a track, as none has a look to compare
        with. A cut is no more than one such change, so that the next look, which changes as much, is no other cut.

        Args:
            replaced: a track in the place of which this one came.
        """
        if not replaced._changes:
            self._changes.append(replaced._change)

    def missed(self, time_s: float, gone: bool = False) -> None:
        """A look did not find it.

        Args:
            time_s: of the look, in seconds after the clip's first frame.
            gone: its surroundings have become others, so that nothing after its last box is its own.
        """
        self.failures += 1
        self._missed_s = min(self._missed_s, self.path.last_s if gone else time_s)

    def is_other(self, time_s: float, view: View, box: Box | None = None) -> bool:
        """Whether its surroundings have changed, in their place and, if it is given, in that of a new box.

        Args:
            time_s: of the look, in seconds after the clip's first frame.
            view: of the picture.
            box: that may be its own, in pixels.
        """
        if self.look is None:
            return False
        places = [self.path.last] if box is None else [self.path.last, box]
        self._change = min(change(self.look, view(place)) for place in places)
        return changed(self._change, time_s - self.path.last_s, self._changes)

    def unseen_s(self, time_s: float) -> float:
        """How long before `time_s` it was last seen; 0 where no look has missed it since."""
        return time_s - self.path.last_s if self.failures else 0.0

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

    def look(self, time_s: float, detections: Sequence[Detection], view: View | None = None) -> list[FaceTrack]:
        """Take what the detector found at a time. Returns the tracks that this ends.

        Pairs of a track and a detection are chosen such that their overlaps have the largest sum; those that overlap by
        less than `min_overlap` are none, nor are those of which the surroundings have become others: a cut of a part of
        the picture. A detection without a track begins one.

        Args:
            time_s: of the look; later than the one before.
            detections: those that share their place are one face, the first of them.
            view: of the picture; without it places alone count.
        """
        limit_s = self._params.max_gap_s
        detections = merged(detections)
        ended = self._end([track for track in self.tracks if track.unseen_s(time_s) > limit_s])
        pairs = self._pairs([detection.box for detection in detections])
        others = {
            i for i, j in pairs.items() if view is not None and self.tracks[i].is_other(time_s, view, detections[j].box)
        }
        fresh = {pairs.pop(i): self.tracks[i] for i in others}
        for i, track in enumerate(self.tracks):
            if i in pairs:
                box = detections[pairs[i]].box
                track.seen(time_s, detections[pairs[i]], None if view is None else view(box))
            else:
                track.missed(time_s, i in others or (view is not None and track.is_other(time_s, view)))
        over = [self.tracks[i] for i in sorted(others)]
        for track in over:
            track.replaced = True
        for j in sorted(set(range(len(detections))) - set(pairs.values())):
            box = detections[j].box
            missed = [track for track in self.tracks if track.failures and track not in over]
            # Frames in between belong to the nearer search: the one before had not found it. After a cut, nobody knows.
            start_s = -math.inf if self._look_s is None else (self._look_s + time_s) / 2
            track = FaceTrack(math.nextafter(time_s, -math.inf) if j in fresh else start_s, self._params.smoothing_s)
            track.seen(time_s, detections[j], None if view is None else view(box))
            if j in fresh:
                track.expect_changes_of(fresh[j])
            track.instead_of = next((each for each in missed if shared(each.path.last, box) > _ONE_FACE), None)
            self.tracks.append(track)
        over += self._doubles(over)
        self._look_s = time_s
        late = [track for track in self.tracks if track not in over and track.unseen_s(time_s) >= limit_s]
        return ended + self._end(over + late)

    def _doubles(self, over: Sequence[FaceTrack]) -> list[FaceTrack]:
        """Of two tracks that may be of one face, the one that is not: a second look at the newer decides."""
        doubles = []
        for track in self.tracks:
            older = track.instead_of
            if older is None or older in over or older not in self.tracks:
                track.instead_of = None
            elif not older.failures:
                track.instead_of = None  # two faces, if this one was seen, too
                doubles += [track] if track.failures else []
            elif track.confirmed:
                doubles.append(older)
        return doubles

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
        tracks = [i for i, track in enumerate(self.tracks) if i not in pairs and not track.failures]
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
    """Intersection over union of each of N boxes with each of M, (N, M), 0 to 1.

    Args:
        ones, others: N and M boxes in pixels of the same image.
    """
    return overlaps(_edges(ones), _edges(others))


def _edges(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
