"""OpenCV's Haar cascades, which come with it."""

from collections.abc import Sequence
from typing import Any

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from fabnet.errors import ConfigError
from fabnet.video.crop import Box
from fabnet.video.detect import SAME_FACE, Detection, by_score, merged, scaled, shared, shrunk

# In steps of a fifth, searching takes half of the time, but the sizes of boxes jitter by a fifth more (30 real clips).
_SIZE_STEP = 1.1
# Of pixels of the shrunken image; the cascades were trained with 20.
_MIN_SIDE = 24
_MIN_NEIGHBOURS = 3

# The profile cascade's box of a face is larger and further right than the frontal one's of the same face. Medians of
# 1779 pairs on 51 real clips, in sides of the profile's box.
_PROFILE_SCALE = 1 / 1.06
_PROFILE_RIGHT, _PROFILE_DOWN = -0.147, 0.031


class HaarDetector:
    """Frontal faces, and profiles where no frontal face explains what was expected.

    The profile cascades take three times as long as the frontal one and find faces that it finds as well, so they only
    search images without a frontal face and those where a tracked face has none. A profile's box is moved and scaled
    to where the frontal cascade sees the same face, lest a track jumps when a head turns.
    """

    name = "haar"
    version = "frontalface_alt2+profileface/1"
    min_score = 12.0  # on 51 real clips, no track of something else reached more than 10, and every face's at least 18
    probability = False  # the number of windows that agree

    def __init__(self, longest_side: int) -> None:
        self._longest_side = longest_side
        self._frontal = _cascade("haarcascade_frontalface_alt2.xml")
        self._profile = _cascade("haarcascade_profileface.xml")

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = (), thorough: bool = True) -> list[Detection]:
        """As Detector has it.

        Args:
            image: uint8 RGB (H, W, 3), of any size.
            expected: boxes in pixels of the image; where none of them is found, profiles are looked for as well.
            thorough: changes nothing: the cascades have one way to look.
        """
        small, scale = shrunk(image, self._longest_side)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        found = merged(_detections(self._frontal, grey))
        searched = [scaled(box, scale) for box in expected]
        if not found or any(all(shared(box, face.box) < SAME_FACE for face in found) for box in searched):
            left = [_as_frontal(face) for face in _detections(self._profile, grey)]
            mirrored = [_as_frontal(face) for face in _detections(self._profile, cv2.flip(grey, 1))]
            right = [Detection(_mirrored(face.box, grey.shape[1]), face.score) for face in mirrored]
            # Frontal boxes come first: they lie closer.
            found = merged([*found, *sorted([*left, *right], key=_evidence, reverse=True)])
        return by_score(Detection(scaled(face.box, 1 / scale), face.score) for face in found)


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
