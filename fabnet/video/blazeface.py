"""BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047): MediaPipe's full-range network, which comes with the package.

The network sees 192 x 192 pixels, and finds faces of about 12 to 110 of them. A frame is therefore looked at through
square windows: the whole of it at two scales, and tiles of it for small faces.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.video.bundled import BLAZEFACE
from fabnet.video.crop import Box
from fabnet.video.detect import SAME_FACE, Detection, by_score, merged, overlaps, scaled, shared, shrunk
from fabnet.video.mesh import MIN_PRESENCE, FaceMesh, box_of, window_of
from fabnet.video.window import Window, letterbox, upright

# The network's input, and its one grid of anchors: square, as large as the input, in the middle of cells of 4 pixels.
_INPUT = 192
_CELLS = 48
_OUTPUTS = ("reshaped_classifier_face_4", "reshaped_regressor_face_4")
_POINTS = 6  # of a face: right eye (left in the image), left eye, nose, mouth, right ear, left ear

# A candidate of a lower score is none; those that overlap more are averaged.
_MIN_CANDIDATE = 0.3
_MAX_OVERLAP = 0.3
# Of a face that was not expected: the mean of its score and that of a second look at it, turned upright, and so much of
# the log-odds of FaceMesh's presence. Chosen on 300 stills and 991 backgrounds (decision 23).
_MIN_SUM, _LOG_ODDS_SHARE, _MOST_LOG_ODDS = 0.45, 1 / 60, 10.0
# Of a look at a face that is known to be there.
_MIN_KNOWN = 0.51

# Sides of a face in pixels of the input between which it is found well, and that at which it is found best.
_SMALLEST, _BEST, _LARGEST = 12.0, 48.0, 96.0
# Of the whole frame, so that faces that fill it are not too large.
_SCALES = (1.0, 0.5)
# Side of the smallest tiles in pixels, of which 40 are 24 of the input; larger ones are doubled until the frame fits.
# Neighbours overlap by a third, so that a face of up to that size lies in one of them as a whole.
_TILE, _TILES_SHARE = 320, 1 / 3
# A box that ends so close to an edge of its window, in shares of the window, may be a part of a face that goes on.
_EDGE = 0.01


@dataclass(frozen=True)
class Candidates:
    """N boxes that may be faces.

    Attributes:
        scores: (N,), 0 to 1.
        boxes: (N, 4), left, top, right, bottom.
        points: (N, 6, 2), x and y of the key points.
    """

    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    points: NDArray[np.float64]


class BlazeFaceDetector:
    """Faces at any roll up to about 45 degrees, frontal or in profile, each with the roll of its eyes.

    What lies where a face was expected is believed. Anything else is looked at once more, where it is seen best and
    turned upright, and by FaceMesh. Where that sees a face, the box is around its points, else the mean of both looks;
    the score is the mean of all three probabilities.
    """

    name = "blazeface"
    version = "full_range/2"
    min_score = 0.6
    probability = True

    def __init__(self, longest_side: int) -> None:
        """Raises UserError: the file of a network is missing, cut short or another one."""
        self._longest_side = longest_side
        self._network = BLAZEFACE.open()
        self._mesh = FaceMesh()

    def find(self, image: NDArray[np.uint8], expected: Sequence[Box] = (), thorough: bool = True) -> list[Detection]:
        """As Detector has it.

        Args:
            image: uint8 RGB (H, W, 3), of any size.
            expected: boxes in pixels of the image; what is found there is believed at the first look.
            thorough: whether to look at the whole at two scales and at all tiles, or once and at what that misses.
        """
        small, scale = shrunk(image, self._longest_side)
        height, width = small.shape[:2]
        faces = [scaled(box, scale) for box in expected]
        windows = list(_windows(width, height))
        if thorough:
            found = [self._look(small, window) for window in windows]
        else:
            first = _whole(width, height, _scale_for(faces, max(width, height)))
            found = [self._look(small, first)]
            seen = _faces(found)
            missed = [box for box in faces if all(shared(box, face.box) <= SAME_FACE for face in seen)]
            again = {_best_window([window for window in windows if window != first], box) for box in missed}
            found += [self._look(small, window) for window in windows if window in again]
        sure = []
        for face in _faces(found):
            known = any(shared(face.box, box) > SAME_FACE for box in faces)
            if (confirmed := face if known else self._confirmed(small, face)) is not None:
                sure.append(confirmed)
        kept = merged(by_score(sure))
        return [Detection(scaled(face.box, 1 / scale), face.score, face.roll_deg) for face in kept]

    def roll_deg(self, image: NDArray[np.uint8], box: Box) -> float | None:
        """The roll of a face that is known to be in a box, as Detection has it; None where no face is seen there.

        Args:
            image: uint8 RGB (H, W, 3).
            box: of the face, pixels.
        """
        seen = self._upright(image, Detection(box, 1.0))
        return None if seen is None or seen.score < _MIN_KNOWN else seen.roll_deg

    def _confirmed(self, image: NDArray[np.uint8], face: Detection) -> Detection | None:
        """A face as a second look and FaceMesh see it; None if they see none."""
        again = self._upright(image, face)
        if again is None:
            return None
        box = Box(*((one + other) / 2 for one, other in zip(astuple(face.box), astuple(again.box), strict=True)))
        points, presence = self._mesh.look(image, window_of(box), again.roll_deg or 0.0)
        log_odds = math.log(max(presence, 1e-9) / max(1 - presence, 1e-9))
        bounded = min(max(log_odds, -_MOST_LOG_ODDS), _MOST_LOG_ODDS)
        if (face.score + again.score) / 2 + _LOG_ODDS_SHARE * bounded < _MIN_SUM:
            return None
        seen = box_of(points) if presence >= MIN_PRESENCE else box
        return Detection(seen, (face.score + again.score + presence) / 3, again.roll_deg)

    def _look(self, image: NDArray[np.uint8], window: Window) -> Candidates:
        """What may be a face in a window, in pixels of the image."""
        canvas, place = letterbox(image, window, _INPUT)
        found = self._run(canvas)
        height, width = image.shape[:2]
        # Edges of the window that are none of the image, in shares of the input.
        inner = np.array([window.left > 0, window.top > 0])
        outer = np.array([window.left + window.side < width, window.top + window.side < height])
        cut = (inner & (found.boxes[:, :2] < _EDGE)) | (outer & (found.boxes[:, 2:] > 1 - _EDGE))
        whole = ~cut.any(axis=1)
        boxes = place.of(found.boxes[whole].reshape(-1, 2, 2)).reshape(-1, 4)
        return Candidates(found.scores[whole], boxes, place.of(found.points[whole]))

    def _upright(self, image: NDArray[np.uint8], face: Detection) -> Detection | None:
        """A face as the network sees it where it is seen best, turned upright; None where it sees none there.

        Args:
            image: uint8 RGB.
            face: in it.
        """
        x, y = (face.box.left + face.box.right) / 2, (face.box.top + face.box.bottom) / 2
        side = max(_INPUT, (face.box.right - face.box.left) * _INPUT / _BEST)
        canvas, place = upright(image, Window(x - side / 2, y - side / 2, side), face.roll_deg or 0.0, _INPUT)
        found = self._run(canvas)
        centres = place.of((found.boxes[:, :2] + found.boxes[:, 2:]) / 2)
        points = place.of(found.points)
        halves = (found.boxes[:, 2:] - found.boxes[:, :2]) * _INPUT / place.scale / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        faces = _faces([Candidates(found.scores, boxes, points)])
        return next((each for each in faces if shared(each.box, face.box) > SAME_FACE), None)

    def _run(self, canvas: NDArray[np.uint8]) -> Candidates:
        self._network.setInput(cv2.dnn.blobFromImage(canvas, 1 / 127.5, mean=(127.5, 127.5, 127.5)))
        scores, values = self._network.forward(_OUTPUTS)
        return decode(scores[0, :, 0], values[0])


def decode(logits: NDArray[np.float32], values: NDArray[np.float32]) -> Candidates:
    """What the network's outputs say, in shares of its input.

    Args:
        logits: (2304,), of each anchor, row by row.
        values: (2304, 16), in pixels of the input: centre of the box relative to that of the anchor, its width and
            height, and six points relative to the anchor.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    chosen = np.flatnonzero(scores >= _MIN_CANDIDATE)
    anchors = (np.stack([chosen % _CELLS, chosen // _CELLS], axis=1) + 0.5) / _CELLS
    shares = values[chosen].astype(np.float64) / _INPUT
    centres, halves = anchors + shares[:, :2], shares[:, 2:4] / 2
    points = shares[:, 4:].reshape(-1, _POINTS, 2) + anchors[:, None]
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    real = (halves > 0).all(axis=1)
    return Candidates(scores[chosen][real], boxes[real], points[real])


def suppressed(found: Candidates) -> Candidates:
    """Weighted non-maximum suppression: candidates that overlap the best one become one, their mean weighted by score.

    Its score is the best one's. The rest is treated alike.
    """
    left = np.argsort(-found.scores, kind="stable")
    scores, boxes, points = [], [], []
    while len(left):
        same = overlaps(found.boxes[left[:1]], found.boxes[left])[0] > _MAX_OVERLAP
        group, left = left[same], left[~same]
        weights = found.scores[group] / found.scores[group].sum()
        scores.append(found.scores[group[0]])
        boxes.append((weights[:, None] * found.boxes[group]).sum(axis=0))
        points.append((weights[:, None, None] * found.points[group]).sum(axis=0))
    return Candidates(np.array(scores), np.array(boxes).reshape(-1, 4), np.array(points).reshape(-1, _POINTS, 2))


def roll_in(image: NDArray[np.uint8], box: Box) -> float | None:
    """See BlazeFaceDetector.roll_deg; the network is opened once in a process.

    Args:
        image: uint8 RGB (H, W, 3).
        box: of the face, pixels.

    Raises:
        UserError: the network's file is missing, cut short or another one.
    """
    return _opened().roll_deg(image, box)


@cache
def _opened() -> BlazeFaceDetector:
    return BlazeFaceDetector(_INPUT)


def roll_deg(points: NDArray[np.float64]) -> float:
    """The angle of the line between the eyes, degrees, positive where the head is turned clockwise in the image.

    Args:
        points: (6, 2), pixels.
    """
    x, y = points[1] - points[0]
    return math.degrees(math.atan2(y, x))


def _faces(found: Sequence[Candidates]) -> list[Detection]:
    """The faces that the candidates of several windows show, by falling score."""
    together = Candidates(
        *(np.concatenate([getattr(each, name) for each in found]) for name in ("scores", "boxes", "points"))
    )
    best = suppressed(together)
    rows = zip(best.scores.tolist(), best.boxes.tolist(), best.points, strict=True)
    return merged(by_score(Detection(Box(*box), score, roll_deg(points)) for score, box, points in rows))


# -- windows ------------------------------------------------------------------------------------------------------


def _whole(width: int, height: int, scale: float) -> Window:
    """The whole of an image. It is never enlarged."""
    side = max(_INPUT, max(width, height) / scale)
    return Window((width - side) / 2, (height - side) / 2, side)


def _scale_for(faces: Sequence[Box], longest: int) -> float:
    """The scale of the whole image at which the largest of some faces is seen well."""
    largest = max((box.right - box.left for box in faces), default=0.0)
    if largest <= 0:
        return _SCALES[0]
    return min(max(_BEST * longest / (_INPUT * largest), _SCALES[-1]), _SCALES[0])


def _windows(width: int, height: int) -> Iterator[Window]:
    """All that a thorough search looks at."""
    yield from dict.fromkeys(_whole(width, height, scale) for scale in _SCALES)
    side = _TILE
    while side < max(width, height):
        for top in _starts(height, side):
            for left in _starts(width, side):
                yield Window(left, top, side)
        side *= 2


def _starts(length: int, side: int) -> list[float]:
    """Where tiles begin along a side of the image, evenly spread."""
    if length <= side:
        return [(length - side) / 2]
    count = 1 + math.ceil((length - side) / (side * (1 - _TILES_SHARE)))
    return [n * (length - side) / (count - 1) for n in range(count)]


def _suits(window: Window, box: Box) -> bool:
    """Whether a face there would lie in the window as a whole, and be neither too small nor too large in it."""
    return window.holds(box) and _SMALLEST <= (box.right - box.left) * _INPUT / window.side <= _LARGEST


def _best_window(windows: Sequence[Window], box: Box) -> Window | None:
    """The window in which a face there is seen best, None if there is none that suits."""
    fitting = [window for window in windows if _suits(window, box)]
    best = (box.right - box.left) * _INPUT / _BEST
    return min(fitting, key=lambda window: (abs(math.log(window.side / best)), window), default=None)
