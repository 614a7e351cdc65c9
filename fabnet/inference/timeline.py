"""What probes read of the faces of a video over time, and one HTML file that shows it.

Its faces are found, embedded and read a batch at a time; readings become series, which are smoothed, and faces that are
seen one after another share a lane. The page holds the numbers, its pictures and the script that draws them.

Shape suffixes: N faces of a track, S series, T samples of the video.
"""

import base64
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from fabnet.config import ExtractParams
from fabnet.errors import UserError, counted
from fabnet.faces.face_params import differences
from fabnet.faces.found import FaceCrop, Faces, Watched, find_faces
from fabnet.faces.inputs import BadInput, find_input, no_face
from fabnet.figures.face import UNIT_NAMES
from fabnet.figures.preview import clock
from fabnet.model import Model
from fabnet.pages import data_url, render
from fabnet.progress import Progress
from fabnet.tables import EXPRESSIONS, UNITS
from fabnet.video.crop import quality
from fabnet.video.detectors import are_scored
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected

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


#: Samples per second where nobody asks for others: a syllable lasts about 0.2 s.
FPS = 5.0

_BATCH = 64


def timeline_of(path: Path | str, model: Model, params: ExtractParams) -> Timeline:
    """Follow the faces of a video.

    Args:
        path: the video.
        model: with probes.
        params: how faces are found, and how many samples a second has.

    Raises:
        UserError: no video, no face in it, or a model without probes.
    """
    if model.probes is None:
        raise UserError(f"{model.path}: has no probes, which a timeline is made of; give them by --heads")
    each = find_input(path, "a timeline is of one video")
    if each.kind == "image":
        raise UserError(f"{path}: is an image; a timeline is of a video")
    watched = Watched()
    try:
        faces = Faces(each.name, find_faces(each, params, watched), params)
    except Rejected as reject:
        raise no_face([BadInput(each.name, f"{reject.reason}: {reject.detail}")]) from None
    thumbnails = Thumbnails(faces.tracks)
    tracks, samples, values = array("q"), array("q"), []
    rest = iter(faces)
    with Progress("timeline", len(faces), "faces") as progress:
        while batch := list(islice(rest, _BATCH)):
            values.append(_values(batch, model))
            for face in batch:
                tracks.append(face.track)
                samples.append(face.frame)
                thumbnails.offer(face.track, face.frame, face.image)
            progress.advance(len(batch))
    return Timeline(
        each.name,
        params.fps,
        len(watched.times_T),
        tuple(watched.cuts_C.tolist()),
        series_of([head.task for head in model.probes.heads], are_scored(params)),
        tracks_of(np.array(tracks), np.array(samples), np.concatenate(values), thumbnails),
    )


def tracks_of(
    tracks_N: NDArray[np.int64],
    samples_N: NDArray[np.int64],
    values_NS: NDArray[np.float32],
    thumbnails: "Thumbnails",
) -> tuple[Track, ...]:
    """Faces in any order, put together by their tracks.

    Args:
        tracks_N: number of the track of each face.
        samples_N: number of the sample that shows it.
        values_NS: its values.
        thumbnails: that were offered all of them.
    """
    found = []
    for number in np.unique(tracks_N).tolist():
        mine = np.flatnonzero(tracks_N == number)
        mine = mine[np.argsort(samples_N[mine])]
        found.append(Track(number, samples_N[mine], values_NS[mine], thumbnails.of(number)))
    return tuple(found)


class Thumbnails:
    """Small pictures of some faces: evenly spread over all of them, and the first of each track.

    Of very many tracks, only the longest are sure to have one, so that a page stays small.

    Args:
        tracks: number of faces by track, of all faces that will be offered.
    """

    _SPREAD, _FIRST = 240, 160
    _SIDE, _JPEG_QUALITY = 72, 80

    def __init__(self, tracks: Mapping[int, int]) -> None:
        self._every = -(-sum(tracks.values()) // self._SPREAD)
        self._longest = set(sorted(tracks, key=lambda number: (-tracks[number], number))[: self._FIRST])
        self._offered = 0
        self._jpegs: dict[int, dict[int, bytes]] = {number: {} for number in tracks}

    def offer(self, track: int, sample: int, image: NDArray[np.uint8]) -> None:
        """The next face: its track, the number of its sample, and its crop (H, W, 3).

        Args:
            track: the number of the face's track.
            sample: the number of its sample of the video, from 0.
            image: uint8 RGB (H, W, 3), the crop.
        """
        mine = self._jpegs[track]
        if self._offered % self._every == 0 or (not mine and track in self._longest):
            mine[sample] = self._jpeg(image)
        self._offered += 1

    def of(self, track: int) -> dict[int, bytes]:
        """The JPEGs of a track by the number of their sample."""
        return self._jpegs[track]

    def _jpeg(self, image: NDArray[np.uint8]) -> bytes:
        if len(image) > self._SIDE:
            image = cv2.resize(image, (self._SIDE, self._SIDE), interpolation=cv2.INTER_AREA)
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=self._JPEG_QUALITY, colorspace="RGB")


def _values(faces: Sequence[FaceCrop], model: Model) -> NDArray[np.float32]:
    regions = np.array([astuple(face.box) for face in faces], np.float64)
    readings = model.read(model.embed(np.stack([face.image for face in faces]), len(faces)), regions)
    sharpness = np.array([quality(face.image)[0] for face in faces])
    scores = None if faces[0].score is None else np.array([face.score for face in faces], np.float64)
    return values_of(readings, regions[:, 2] - regions[:, 0], sharpness, scores)


#: Lanes that are drawn; the faces of others are counted.
MOST_LANES = 4


def timeline_page(timeline: Timeline, lines: list[str]) -> str:
    """The page.

    Args:
        timeline: what it shows.
        lines: what it says above: model, probes, and what to bear in mind.
    """
    found = lanes(timeline.tracks)
    shown, left_out = found[:MOST_LANES], found[MOST_LANES:]
    ranges = [
        _range(one, [lane.values_NS[:, at] for lane in timeline.tracks]) for at, one in enumerate(timeline.series)
    ]
    return render(
        "timeline.html",
        title=f"Timeline of {Path(timeline.name).name}",
        lines=lines,
        about=_about(timeline),
        smoothing=f"{max(SMOOTHING_S, 1 / timeline.fps):g}",
        lanes=[_lane(timeline, number, lane) for number, lane in enumerate(shown)],
        left_out=f"{sum(map(len, left_out))} further tracks, seen beside these, are not drawn." if left_out else "",
        series=timeline.series,
        data=_data(timeline, shown, ranges),
    )


def notes(model: Model, params: ExtractParams) -> list[str]:
    """What to know of the numbers: whose they are, and what they cannot be trusted in.

    Args:
        model: with probes.
        params: how the faces were found.
    """
    assert model.probes is not None
    lines = [
        f"Model {model.name}; linear probes of {model.probes.meta['set']}, which know only faces like those they "
        "learnt from. Roll is clockwise in the image, pitch up, yaw to the image's right; the mouth is measured in "
        "distances of the outer corners of the eyes; action units and expressions are probabilities with classes "
        "weighted equally.",
        "A track is one face through one shot; tracks are not matched with each other.",
    ]
    if params.source != "folder":
        lines.append(
            "Faces were not looked for: the middle of every frame is taken for one, so what is said of frames without "
            "a face means nothing."
        )
    differing = sorted(differences(model.recipe, recipe(params)), key=lambda each: not each.startswith("source"))
    if differing:
        lines.append(f"The model learnt from other crops, so take the numbers with care ({differing[0]}).")
    return lines


def _about(timeline: Timeline) -> str:
    faces = len({int(sample) for track in timeline.tracks for sample in track.samples_N})
    seconds = timeline.samples / timeline.fps
    return (
        f"{clock(seconds)}, {timeline.fps:g} samples per second; a face in {faces / max(timeline.samples, 1):.0%} of "
        f"them, {len(timeline.tracks)} track{'s' * (len(timeline.tracks) != 1)}, {len(timeline.cuts_s)} shot "
        f"cut{'s' * (len(timeline.cuts_s) != 1)}."
    )


def _lane(timeline: Timeline, number: int, lane: list[Track]) -> dict[str, Any]:
    """What is said of a lane, without a script too: mean and range of each series."""
    values = np.concatenate([track.values_NS for track in lane])
    rows = []
    for at, one in enumerate(timeline.series):
        numbers = values[:, at]
        said = [f"{value:.{one.digits}f}{one.unit}" for value in (numbers.mean(), numbers.min(), numbers.max())]
        rows.append({"name": one.name, "group": one.group, "cells": said})
    tracks = len(lane)
    return {
        "title": f"Face {number + 1}",
        "line": f"{len(values)} of {timeline.samples} samples, {counted(tracks, 'track')}",
        "rows": rows,
    }


def _range(one: Series, values: list[NDArray[np.float32]]) -> tuple[float, float]:
    """The range that holds all values, not smaller than that of the series."""
    low, high = (float(edge([edge(each) for each in values])) for edge in (np.min, np.max))
    return min(one.low, low), max(one.high, high)


def _data(timeline: Timeline, shown: list[list[Track]], ranges: list[tuple[float, float]]) -> dict[str, Any]:
    """What the script draws. A value is a whole number from the lowest to the highest of its series, `missing` where
    there was no face; two bytes for angles, one for the rest of the probes.
    """
    series = [
        {"group": one.group, "name": one.name, "unit": one.unit, "digits": one.digits, "low": low, "high": high}
        | {"wide": one.digits == 0 or one.group == "Mouth"}
        for one, (low, high) in zip(timeline.series, ranges, strict=True)
    ]
    drawn = []
    for lane in shown:
        raw, smoothed = (
            [track.values_NS for track in lane],
            [smooth(track, timeline.fps, timeline.shots) for track in lane],
        )
        pictures = sorted((sample, jpeg) for track in lane for sample, jpeg in track.thumbnails.items())
        drawn.append(
            {
                "raw": [_packed(timeline.samples, lane, raw, at, one) for at, one in enumerate(series)],
                "smooth": [_packed(timeline.samples, lane, smoothed, at, one) for at, one in enumerate(series)],
                "tracks": [[track.number, int(track.samples_N[0]), int(track.samples_N[-1])] for track in lane],
                "pictures": [[sample, data_url("jpeg", jpeg)] for sample, jpeg in pictures],
            }
        )
    return {"fps": timeline.fps, "samples": timeline.samples, "shots": timeline.shots, "series": series, "lanes": drawn}


def _packed(samples: int, lane: list[Track], values: list[NDArray[np.float32]], at: int, series: dict[str, Any]) -> str:
    kind = np.dtype("<u2" if series["wide"] else "u1")
    missing = int(np.iinfo(kind).max)
    packed = np.full(samples, missing, kind)
    for track, values_NS in zip(lane, values, strict=True):
        share = (values_NS[:, at].astype(np.float64) - series["low"]) / (series["high"] - series["low"])
        packed[track.samples_N] = np.rint(share * (missing - 1)).clip(0, missing - 1)
    return base64.b64encode(packed.tobytes()).decode()
