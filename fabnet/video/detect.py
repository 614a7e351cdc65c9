"""Faces in one image: OpenCV's Haar cascades, which come with it, or YuNet, whose model file the user gives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from fabnet.config import DetectionParams
from fabnet.errors import ConfigError
from fabnet.files import hash_file
from fabnet.video.crop import Box

# Detections that share more than this part of the smaller one are one face: the cascades find it at several sizes.
_SAME_FACE = 0.5


@dataclass(frozen=True)
class Detection:
    """A face: where, in pixels of the image, and how confident the detector is of it, on its own scale."""

    box: Box
    score: float


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name, version: for the crop recipe; `version` is raised when its boxes change.
        min_score: that the best detection of a track has to reach, or the track is taken for a false alarm.
    """

    name: str
    version: str
    min_score: float

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = ()) -> list[Detection]:
        """The faces in an image (H, W, 3), RGB, by falling score.

        `expected` are the places where faces have just been; a detector may search for those with more effort.
        """


class HaarDetector:
    """Frontal faces, and profiles where no frontal face explains what was expected.

    The profile cascades take three times as long as the frontal one and find faces that it finds as well, so they only
    search images without a frontal face and those where a tracked face has none. A profile's box is moved and scaled
    to where the frontal cascade sees the same face, lest a track jumps when a head turns.
    """

    name = "haar"
    version = "frontalface_alt2+profileface/1"
    min_score = 12.0  # on 51 real clips, no track of something else reached more than 10, and every face's at least 18

    def __init__(self, longest_side: int) -> None:
        self._longest_side = longest_side
        self._frontal = _cascade("haarcascade_frontalface_alt2.xml")
        self._profile = _cascade("haarcascade_profileface.xml")

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = ()) -> list[Detection]:
        small, scale = _shrunk(image, self._longest_side)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        found = merged(_detections(self._frontal, grey))
        searched = [_scaled(box, scale) for box in expected]
        if not found or any(all(_shared(box, face.box) < _SAME_FACE for face in found) for box in searched):
            left = [_as_frontal(face) for face in _detections(self._profile, grey)]
            mirrored = [_as_frontal(face) for face in _detections(self._profile, cv2.flip(grey, 1))]
            right = [Detection(_mirrored(face.box, grey.shape[1]), face.score) for face in mirrored]
            # Frontal boxes come first: they lie closer.
            found = merged([*found, *sorted([*left, *right], key=_evidence, reverse=True)])
        return _by_score(Detection(_scaled(face.box, 1 / scale), face.score) for face in found)


class YuNetDetector:
    """YuNet (Wu et al. 2023) from an ONNX file of opencv_zoo, with the thresholds of its demonstration."""

    name = "yunet"
    version = "opencv_zoo/1"
    min_score = 0.9

    _MIN_SCORE = min_score
    _MAX_OVERLAP = 0.3
    _CANDIDATES = 5000

    def __init__(self, longest_side: int, model: Path, sha256: str) -> None:
        """Raises ConfigError: the file is absent, is another one than `sha256` names, or OpenCV cannot load it."""
        self._longest_side = longest_side
        if not model.is_file():
            raise ConfigError(f"extract.detection.model: {model}: no such file")
        actual = hash_file(model)
        if actual != sha256:
            raise ConfigError(
                f"extract.detection.model: {model} has the SHA-256 {actual}, not {sha256} (extract.detection.sha256)"
            )
        try:
            self._net: Any = cv2.FaceDetectorYN.create(
                str(model), "", (longest_side, longest_side), self._MIN_SCORE, self._MAX_OVERLAP, self._CANDIDATES
            )
        except cv2.error as error:
            raise ConfigError(f"extract.detection.model: {model}: not a model of YuNet: {error.err}") from None

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = ()) -> list[Detection]:
        small, scale = _shrunk(image, self._longest_side)
        self._net.setInputSize((small.shape[1], small.shape[0]))
        # Rows of left, top, width, height, five landmarks, score; None where there is no face.
        _, rows = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return _by_score(
            Detection(_scaled(Box(left, top, left + width, top + height), 1 / scale), score)
            for left, top, width, height, *_, score in ([] if rows is None else np.asarray(rows, float).tolist())
        )


@cache
def open_detector(params: DetectionParams) -> Detector:
    """The detector that params name; one for each in a process.

    Raises:
        ConfigError: the model file is absent, another one than its SHA-256 says, or no model.
    """
    if params.detector == "haar":
        return HaarDetector(params.longest_side)
    if params.model is None or params.sha256 is None:
        raise ConfigError("extract.detection: detector yunet needs `model` and `sha256`")
    return YuNetDetector(params.longest_side, params.model, params.sha256)


def merged(detections: Sequence[Detection]) -> list[Detection]:
    """One of each group that show the same face: the first one given."""
    kept: list[Detection] = []
    for detection in detections:
        if all(_shared(detection.box, other.box) <= _SAME_FACE for other in kept):
            kept.append(detection)
    return kept


def _shared(one: Box, other: Box) -> float:
    """Intersection over the smaller area."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (one, other)]
    return width * height / min(areas)


def _by_score(detections: Iterable[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda face: (-face.score, face.box.left, face.box.top))


# -- Haar ---------------------------------------------------------------------------------------------------------

# In steps of a fifth, searching takes half of the time, but the sizes of boxes jitter by a fifth more (30 real clips).
_SIZE_STEP = 1.1
# Of pixels of the shrunken image; the cascades were trained with 20.
_MIN_SIDE = 24
_MIN_NEIGHBOURS = 3

# The profile cascade's box of a face is larger and further right than the frontal one's of the same face. Medians of
# 1779 pairs on 51 real clips, in sides of the profile's box.
_PROFILE_SCALE = 1 / 1.06
_PROFILE_RIGHT, _PROFILE_DOWN = -0.147, 0.031


def _cascade(file: str) -> Any:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + file)
    if cascade.empty():
        raise ConfigError(f"extract.detection.detector: haar: OpenCV {cv2.__version__} comes without {file}")
    return cascade


def _detections(cascade: Any, grey: NDArray[np.uint8]) -> list[Detection]:
    """What a cascade finds, scored by the number of neighbouring windows that agree, the best of each face first.

    An eye and a brow are sometimes taken for a face with a higher score than the face around them, so size counts too.
    """
    boxes, neighbours = cascade.detectMultiScale2(
        grey, scaleFactor=_SIZE_STEP, minNeighbors=_MIN_NEIGHBOURS, minSize=(_MIN_SIDE, _MIN_SIDE)
    )
    found = [
        Detection(Box(float(left), float(top), float(left + width), float(top + height)), float(score))
        for (left, top, width, height), score in zip(boxes, neighbours, strict=True)
    ]
    return sorted(found, key=_evidence, reverse=True)


def _evidence(face: Detection) -> tuple[float, float, float]:
    return face.score * (face.box.right - face.box.left), face.box.left, face.box.top


def _as_frontal(face: Detection) -> Detection:
    side = face.box.right - face.box.left
    x = (face.box.left + face.box.right) / 2 + _PROFILE_RIGHT * side
    y = (face.box.top + face.box.bottom) / 2 + _PROFILE_DOWN * side
    half = side * _PROFILE_SCALE / 2
    return Detection(Box(x - half, y - half, x + half, y + half), face.score)


def _mirrored(box: Box, width: int) -> Box:
    return Box(width - box.right, box.top, width - box.left, box.bottom)


# -- scale --------------------------------------------------------------------------------------------------------


def _shrunk(image: NDArray[np.uint8], longest_side: int) -> tuple[NDArray[np.uint8], float]:
    """The image with at most that many pixels on its longest side, and its scale. It is never made larger."""
    height, width = image.shape[:2]
    scale = min(1.0, longest_side / max(height, width))
    if scale == 1.0:
        return np.ascontiguousarray(image), scale
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def _scaled(box: Box, factor: float) -> Box:
    return Box(box.left * factor, box.top * factor, box.right * factor, box.bottom * factor)
