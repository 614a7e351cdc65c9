"""What a face and its surroundings look like, and whether they are still the same a look later.

A cut may change only a part of the picture: another speaker in the same window, an inset of a slide, the next person
before the same wall. The surroundings of the face tell, as its hair, clothes and background change with it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fabnet.video.crop import Box

# The box with its sides doubled, in so many cells a side.
_CELLS = 16
# A cell is compared with those of the other picture that are no further away, so that motion is no change.
_REACH = 5

# Sums of the differences of L, a, b (0 to 255 each), averaged over the cells. From one look to the next, 0.2 s later,
# the faces of 30 real clips gave at most 4.8 (1785 looks), 1404 pairs of people, some before one wall, at least 6.2.
# Against 1 + the most of the five looks before it was at most 1.11 times as much, and at least 2.02 times.
_MOST, _LEAST, _TIMES = 5.5, 3.0, 1.5
# A second later 9.3 was the most of one person, and 2 % of the pairs of people are below.
_MOST_LATER = 9.5
_SOON_S = 0.5

#: Looks before that `changed` compares with.
RECENT = 5


def surroundings(image: NDArray[np.uint8], box: Box) -> NDArray[np.int16]:
    """The box with its sides doubled, in cells: L, a and b, (16, 16, 3). Beyond the border its pixels are repeated.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: in pixels of the image.
    """
    height, width = image.shape[:2]
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    left, right = round(x - (box.right - box.left)), round(x + (box.right - box.left))
    top, bottom = round(y - (box.bottom - box.top)), round(y + (box.bottom - box.top))
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if not inside.size:
        return np.zeros((_CELLS, _CELLS, 3), np.int16)
    pads = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if any(pads):
        inside = cv2.copyMakeBorder(inside, *pads, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(inside, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.int16)


def change(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """How much of either is not found near its place in the other: 0 for the same picture, moved or not.

    Args:
        one, other: of two pictures, see `surroundings`: L, a and b of cells, (16, 16, 3).

    Returns:
        The sum of the differences of L, a and b (0 to 255 each), averaged over the cells.
    """
    return max(_unfound(one, other), _unfound(other, one))


def changed(difference: float, passed_s: float, recent: Sequence[float] = ()) -> bool:
    """Whether a face's surroundings are of another scene than a look before.

    Args:
        difference: between the two looks, see `change`.
        passed_s: seconds between them.
        recent: the differences of the looks before, since some faces move more than others.
    """
    if passed_s > _SOON_S:
        return difference > _MOST_LATER
    if not recent:
        return difference > _MOST
    return difference > max(_LEAST, _TIMES * (1 + max(recent)))


def _unfound(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    padded = cv2.copyMakeBorder(other, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    planes = np.ascontiguousarray(padded.transpose(2, 0, 1))
    near = sliding_window_view(planes, (_CELLS, _CELLS), axis=(1, 2))  # (3, 11, 11, 16, 16)
    # Added one by one: NumPy's sum would turn 16 bits, which hold 3 x 255, into 64.
    lightness, a, b = (np.abs(near[channel] - one[..., channel]) for channel in range(3))
    return float((lightness + a + b).reshape(-1, _CELLS * _CELLS).min(axis=0).mean())
