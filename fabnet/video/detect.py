"""What a face detector gives and takes, and what several detectors share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.video.crop import Box

# Detections that share more than this part of the smaller one are one face: the cascades find it at several sizes.
SAME_FACE = 0.5


@dataclass(frozen=True)
class Detection:
    """A face: where, in pixels of the image, and how confident the detector is of it, on its own scale.

    Attributes:
        roll_deg: angle of the line between the eyes, positive where the head is turned clockwise in the image; None
            where the detector sees no eyes.
    """

    box: Box
    score: float
    roll_deg: float | None = None


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name, version: for the crop recipe; `version` is raised when its boxes change.
        min_score: that the best detection of a track has to reach, or the track is taken for a false alarm.
        probability: whether its scores are probabilities, 0 to 1, and not on a scale of its own.
    """

    name: str
    version: str
    min_score: float
    probability: bool

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = (), thorough: bool = True) -> list[Detection]:
        """The faces in an image, by falling score.

        Args:
            image: uint8 (H, W, 3), RGB.
            expected: the places where faces have just been; a detector may search for those with more effort.
            thorough: whether to search for what a quick look may miss, such as small faces. Between two thorough looks
                at a video, quick ones do.
        """


def merged(detections: Sequence[Detection]) -> list[Detection]:
    """One of each group that show the same face: the first one given."""
    kept: list[Detection] = []
    for detection in detections:
        if all(shared(detection.box, other.box) <= SAME_FACE for other in kept):
            kept.append(detection)
    return kept


def shared(one: Box, other: Box) -> float:
    """Intersection over the smaller area, 0 to 1.

    Args:
        one, other: in pixels of the same image.
    """
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (one, other)]
    return width * height / min(areas)


def overlaps(ones: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union (N, M).

    Args:
        ones: N boxes: left, top, right and bottom of each, (N, 4).
        others: M boxes, (M, 4).
    """
    a, b = ones[:, None], others[None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    both = sides.prod(axis=-1)
    areas = [(edges[..., 2:] - edges[..., :2]).prod(axis=-1) for edges in (a, b)]
    return np.asarray(both / (areas[0] + areas[1] - both))


def by_score(detections: Iterable[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda face: (-face.score, face.box.left, face.box.top))


def shrunk(image: NDArray[np.uint8], longest_side: int) -> tuple[NDArray[np.uint8], float]:
    """The image made smaller where it is larger than that, and its scale, at most 1.

    Args:
        image: uint8 (H, W, 3).
        longest_side: of the smaller image in pixels, at most.
    """
    height, width = image.shape[:2]
    scale = min(1.0, longest_side / max(height, width))
    if scale == 1.0:
        return np.ascontiguousarray(image), scale
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def scaled(box: Box, factor: float) -> Box:
    """A box in an image that was made larger.

    Args:
        box: in pixels of the image.
        factor: by which its sides grow.
    """
    return Box(box.left * factor, box.top * factor, box.right * factor, box.bottom * factor)
