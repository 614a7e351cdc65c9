"""A video becomes a timeline: its faces are found, embedded and read, a batch at a time."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.found import FaceCrop, Faces, Watched, find_faces
from fabnet.faces.inputs import BadInput, find_input, no_face
from fabnet.inference.timeline.series import Timeline, Track, series_of, values_of
from fabnet.model import Model
from fabnet.progress import Progress
from fabnet.video.crop import quality
from fabnet.video.detectors import are_scored
from fabnet.video.reject import Rejected

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
        """The next face: its track, the number of its sample, and its crop (H, W, 3)."""
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
