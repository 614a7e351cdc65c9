"""FaceMesh (Kartynnik et al. 2019, arXiv:1907.06724): 468 points of a face, and what they tell of pose, mouth and eyes.

The network is MediaPipe's base one, which comes with the package. It sees 192 x 192 pixels: the square of 1.5 times a
face's box, turned upright.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fabnet.video.bundled import CANONICAL_FACE, FACE_MESH
from fabnet.video.crop import Box
from fabnet.video.window import Window, upright

#: Indices (68,) of the points that lie where the 68-point scheme of Multi-PIE has its own, in that scheme's order: the
#: correspondence that is in use in the field, read off the published picture of the mesh's numbers.
LANDMARKS_68 = np.concatenate(
    [
        (127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),  # jaw
        (70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
        (168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
        (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
        (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
        (78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
    ]
)

#: A region of a lower presence shows no face, or one of which the points tell nothing.
MIN_PRESENCE = 0.5

_INPUT, _POINTS = 192, 468
# Side of the square that the network sees over that of the face's box, as published.
_AROUND = 1.5
# Side of BlazeFace's box over that of the points' extent, median of frontal faces.
_DETECTED = 0.98
# The outer corners of the eyes: that at the left of the image, then the other one.
_CORNERS = (33, 263)
# Corners of the inner mouth, and the middles of its upper and lower lip.
_MOUTH = (78, 308, 13, 14)
# Of each eye: its corners, and two pairs of points of the upper and the lower lid.
_EYES = ((33, 133, 160, 144, 158, 153), (263, 362, 387, 373, 385, 380))


@dataclass(frozen=True)
class FaceReading:
    """What the mesh tells of a face.

    Attributes:
        points: float64 (468, 3). x and y are pixels of the image, the centre of the first pixel is (0.5, 0.5); z is of
            the same unit, 0 about the middle of the head, and decreases towards the camera.
        presence: probability that a face was there, 0 to 1; of less than MIN_PRESENCE the rest means nothing.
        roll_deg: rotation of the head, degrees, positive clockwise as seen in the image.
        pitch_deg: positive where the face looks up.
        yaw_deg: positive where it looks to the right of the image. The rotation is that of roll after yaw after pitch.
        mouth_open: gap between the inner lips over their width: 0 where the mouth is shut.
        eyes_open: gap between the lids over the width of the eye, mean of two gaps of both eyes (the eye aspect ratio
            of Soukupová and Čech 2016). The network reads shut eyes as open, so that it tells no blinks.
    """

    points: NDArray[np.float64]
    presence: float
    roll_deg: float
    pitch_deg: float
    yaw_deg: float
    mouth_open: float
    eyes_open: float

    @property
    def landmarks68(self) -> NDArray[np.float64]:
        """x and y of the points of the 68-point scheme, (68, 2), pixels of the image.

        Those of the jaw lie on the head's surface, not on its outline.
        """
        return self.points[LANDMARKS_68, :2]


def read_face(image: NDArray[np.uint8], box: Box, roll_deg: float = 0.0) -> FaceReading:
    """What the mesh tells of the face in a box, in two runs of the network, which is opened once in a process.

    The second run looks at the region and the roll that the points of the first one give, as the published graph does
    from frame to frame: on faces of which nobody else knows the roll, it is the one that is accurate.

    Args:
        image: uint8 RGB (H, W, 3).
        box: of the face, pixels, as a detector gives it: from the brows to the chin. It touches the image.
        roll_deg: of the line between the eyes, positive clockwise in the image; 0 where it is not known.

    Raises:
        UserError: the network's file is missing, cut short or another one.
        ValueError: the box has no area, or does not touch the image.
    """
    height, width = image.shape[:2]
    if not box.touches(width, height) or box.right <= box.left or box.bottom <= box.top:
        raise ValueError(f"{box} is no part of an image of {width} x {height} pixels")
    mesh = _opened()
    points, presence = mesh.look(image, window_of(box), roll_deg)
    window, roll = around(points)
    if window.touches(width, height):  # what is no face may lead anywhere
        points, presence = mesh.look(image, window, roll)
    return FaceReading(points, presence, *head_pose(points), mouth_opening(points), eye_opening(points))


class FaceMesh:
    """The network.

    Raises:
        UserError: its file is missing, cut short or another one.
    """

    def __init__(self) -> None:
        self._network: Any = FACE_MESH.open()
        self._outputs = self._network.getUnconnectedOutLayersNames()

    def look(self, image: NDArray[np.uint8], window: Window, roll_deg: float) -> tuple[NDArray[np.float64], float]:
        """One run: points and presence as FaceReading has them.

        Args:
            image: uint8 RGB (H, W, 3).
            window: which touches the image.
            roll_deg: that the window is turned by about its middle, so that the face lies upright.
        """
        shown, place = upright(image, window, roll_deg, _INPUT)
        self._network.setInput(cv2.dnn.blobFromImage(shown, 1 / 255))
        by_size = {found.size: found.reshape(-1) for found in self._network.forward(self._outputs)}
        seen = by_size[3 * _POINTS].reshape(_POINTS, 3).astype(np.float64) / _INPUT
        flat = place.of(seen[:, :2])
        logit = min(max(float(by_size[1][0]), -100.0), 100.0)
        return np.column_stack([flat, seen[:, 2] * window.side]), 1 / (1 + math.exp(-logit))


def window_of(box: Box) -> Window:
    """The window in which the network should see a face, from a detector's box of it."""
    longer = max(box.right - box.left, box.bottom - box.top)
    return _about((box.left + box.right) / 2, (box.top + box.bottom) / 2, longer * _AROUND)


def around(points: NDArray[np.float64]) -> tuple[Window, float]:
    """The window to look at next, and the roll of the line between the eyes, degrees.

    Args:
        points: (468, 3), as FaceReading has them.
    """
    x, y, side, roll_deg = _level_square(points)
    return _about(x, y, side * _AROUND), roll_deg


def box_of(points: NDArray[np.float64]) -> Box:
    """The box that BlazeFace gives a frontal face, from its points: a square, pixels.

    Args:
        points: (468, 3), as FaceReading has them.
    """
    x, y, side, _ = _level_square(points)
    half = side * _DETECTED / 2
    return Box(x - half, y - half, x + half, y + half)


def _level_square(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Middle and longer side of the points' extent along the line between the eyes, and the angle of that, degrees."""
    x, y = points[_CORNERS[1], :2] - points[_CORNERS[0], :2]
    roll = math.atan2(y, x)
    cos, sin = math.cos(roll), math.sin(roll)
    turn = np.array([[cos, -sin], [sin, cos]])
    level = points[:, :2] @ turn
    low, high = level.min(axis=0), level.max(axis=0)
    middle = turn @ (low + high) / 2
    return float(middle[0]), float(middle[1]), float((high - low).max()), math.degrees(roll)


def _about(x: float, y: float, side: float) -> Window:
    """The window of a side about a middle; of a pixel at least."""
    side = max(side, 1.0)
    return Window(x - side / 2, y - side / 2, side)


def head_pose(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Roll, pitch and yaw in degrees, as FaceReading has them: the rotation that takes the canonical face closest to
    the points (Kabsch 1976), both about their means. Scale and place do not count.

    Args:
        points: (468, 3), x to the image's right, y down, z away from the camera, all in one unit.
    """
    seen = (points - points.mean(axis=0)) * (1, -1, -1)
    rotation, _ = Rotation.align_vectors(seen, _canonical())
    roll, yaw, pitch = rotation.as_euler("ZYX", degrees=True).tolist()
    return -roll, -pitch, yaw


def mouth_opening(points: NDArray[np.float64]) -> float:
    """As FaceReading has it.

    Args:
        points: (468, 3), all in one unit.
    """
    left, right, upper, lower = points[list(_MOUTH)]
    return _ratio(lower - upper, right - left)


def eye_opening(points: NDArray[np.float64]) -> float:
    """As FaceReading has it.

    Args:
        points: (468, 3), all in one unit.
    """
    gaps = []
    for eye in _EYES:
        outer, inner, upper, lower, upper_inner, lower_inner = points[list(eye)]
        gaps += [_ratio(lower - upper, inner - outer), _ratio(lower_inner - upper_inner, inner - outer)]
    return float(np.mean(gaps))


def _ratio(gap: NDArray[np.float64], width: NDArray[np.float64]) -> float:
    wide = float(np.linalg.norm(width))
    return float(np.linalg.norm(gap)) / wide if wide > 0 else 0.0


@cache
def _opened() -> FaceMesh:
    return FaceMesh()


@cache
def _canonical() -> NDArray[np.float64]:
    shape: NDArray[np.float64] = CANONICAL_FACE.load().astype(np.float64)
    return shape - shape.mean(axis=0)
