"""Readings of faces over time: which series there are, smoothing, and faces that are seen one after another.

Shape suffixes: N faces of a track, S series, T samples of the video.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from fabnet.figures.face import UNIT_NAMES
from fabnet.tables import EXPRESSIONS, UNITS

#: Standard deviation of the smoothing in seconds; at least one sample, so that slow sampling is smoothed as well.
SMOOTHING_S = 0.25

# Points of the 68 in iBUG order: outer corners of the eyes, corners of the mouth, inner lips with upper above lower.
_EYES, _CORNERS = (36, 45), (48, 54)
_UPPER, _LOWER = (61, 62, 63), (67, 66, 65)


@dataclass(frozen=True)
class Series:
    """A number that is followed over time.

    Attributes:
        group: the heading that it stands under.
        name: for people.
        unit: of its values, empty where they are shares.
        low, high: the range that is shown at least.
        digits: decimals that mean something.
    """

    group: str
    name: str
    unit: str
    low: float
    high: float
    digits: int


@dataclass(frozen=True)
class Track:
    """One face through one shot.

    Attributes:
        number: within the video.
        samples_N: numbers of the samples that show it, increasing.
        values_NS: float32, in the order of the series.
        thumbnails: JPEGs by the number of their sample.
    """

    number: int
    samples_N: NDArray[np.int64]
    values_NS: NDArray[np.float32]
    thumbnails: Mapping[int, bytes]


@dataclass(frozen=True)
class Timeline:
    """All faces of a video over time.

    Attributes:
        name: of the video.
        fps: samples per second; sample k is the frame that is shown at k / fps.
        samples: T, how many there are.
        cuts_s: when shots begin, but the first.
        tracks: one or more.
    """

    name: str
    fps: float
    samples: int
    cuts_s: Sequence[float]
    series: tuple[Series, ...]
    tracks: tuple[Track, ...]

    @property
    def shots(self) -> list[int]:
        """The first sample of each shot, but the first one."""
        return sorted({math.ceil(cut * self.fps - 1e-6) for cut in self.cuts_s})


_OF_TASK = {
    "pose": tuple(Series("Head pose", name, "°", -30.0, 30.0, 0) for name in ("Roll", "Pitch", "Yaw")),
    "landmarks68": tuple(Series("Mouth", name, "", 0.0, high, 2) for name, high in (("Opening", 0.3), ("Width", 1.0))),
    "units": tuple(Series("Action units", f"AU{unit} {UNIT_NAMES[unit]}", "", 0.0, 1.0, 2) for unit in UNITS),
    "expression": tuple(Series("Expression", name.capitalize(), "", 0.0, 1.0, 2) for name in EXPRESSIONS),
}
_QUALITY = (Series("Quality", "Side", "px", 0.0, 100.0, 0), Series("Quality", "Sharpness", "", 0.0, 100.0, 0))
_SCORE = Series("Quality", "Detector's score", "", 0.0, 1.0, 2)


def series_of(tasks: Sequence[str], scored: bool = False) -> tuple[Series, ...]:
    """The series of faces, in the order of `values_of`.

    Args:
        tasks: that the probes know.
        scored: whether the faces have a score.
    """
    known = (one for task, several in _OF_TASK.items() if task in tasks for one in several)
    return (*known, *_QUALITY, *([_SCORE] if scored else []))


def values_of(
    readings: Mapping[str, NDArray[np.float32]],
    sides_N: NDArray[np.floating],
    sharpness_N: NDArray[np.floating],
    scores_N: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """The values of N faces, (N, S).

    Args:
        readings: by task, as `fabnet.model.Model.read` gives them.
        sides_N: of the boxes, in pixels of the video.
        sharpness_N: of the crops, see fabnet.video.crop.quality.
        scores_N: the detector's probabilities, where the faces have any.
    """
    columns = [
        mouth(readings[task]) if task == "landmarks68" else readings[task] for task in _OF_TASK if task in readings
    ]
    scores = [] if scores_N is None else [scores_N]
    return np.column_stack([*columns, sides_N, sharpness_N, *scores]).astype(np.float32)


def mouth(points_NK2: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the inner lips are apart, and how wide the mouth is, in distances of the outer corners of the eyes.

    Args:
        points_NK2: 68 landmarks in iBUG order.

    Returns:
        Opening and width, (N, 2).
    """
    points_NK2 = points_NK2.astype(np.float64)

    def apart(first: Sequence[int], second: Sequence[int]) -> NDArray[np.float64]:
        distances: NDArray[np.float64] = np.linalg.norm(points_NK2[:, first] - points_NK2[:, second], axis=2).mean(
            axis=1
        )
        return distances

    eyes = np.maximum(apart(_EYES[:1], _EYES[1:]), 1e-6)
    return np.stack([apart(_UPPER, _LOWER) / eyes, apart(_CORNERS[:1], _CORNERS[1:]) / eyes], axis=1)


def runs(samples_N: NDArray[np.int64], shots: Sequence[int]) -> list[slice]:
    """Where samples follow each other without a gap, within a shot.

    Args:
        samples_N: numbers of samples, increasing.
        shots: the first sample of each shot.
    """
    gaps = set((np.flatnonzero(np.diff(samples_N) != 1) + 1).tolist())
    cuts = set(np.searchsorted(samples_N, np.array(shots, np.int64)).tolist())
    ends = [*sorted((gaps | cuts) - {0, len(samples_N)}), len(samples_N)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def smooth(track: Track, fps: float, shots: Sequence[int]) -> NDArray[np.float32]:
    """The values of a track, smoothed by a Gaussian that reaches across neither gaps nor cuts, (N, S).

    At the ends of a run the weights that are left are scaled to sum to 1.

    Args:
        track: whose values.
        fps: samples per second.
        shots: the first sample of each shot.
    """
    sigma = max(1.0, SMOOTHING_S * fps)
    smoothed = np.empty_like(track.values_NS)
    for run in runs(track.samples_N, shots):
        values = track.values_NS[run].astype(np.float64)
        weights = gaussian_filter1d(np.ones(len(values)), sigma, mode="constant")
        smoothed[run] = gaussian_filter1d(values, sigma, axis=0, mode="constant") / weights[:, None]
    return smoothed


def lanes(tracks: Sequence[Track]) -> list[list[Track]]:
    """Tracks that are never seen at the same time beside each other, for one picture of them all.

    Long tracks choose first. Tracks are not matched: those of a lane may be of one person, through several shots, or of
    several.

    Args:
        tracks: of a video.

    Returns:
        The lane with the most faces first; the tracks of each by time.
    """
    found: list[list[Track]] = []
    for track in sorted(tracks, key=lambda one: (-len(one.samples_N), one.number)):
        for lane in found:
            if all(track.samples_N[-1] < one.samples_N[0] or one.samples_N[-1] < track.samples_N[0] for one in lane):
                lane.append(track)
                break
        else:
            found.append([track])
    ordered = sorted(found, key=lambda lane: (-sum(len(one.samples_N) for one in lane), lane[0].number))
    return [sorted(lane, key=lambda one: int(one.samples_N[0])) for lane in ordered]
