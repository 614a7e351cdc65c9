"""Boxes of a face at some times of a clip: interpolated between them, and cut back to the frame."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fabnet.video.crop import Box
from fabnet.video.faces import Track
from fabnet.video.reject import Rejected

# A wider box shows next to nothing of its frame: it is in other units than it claims.
_MAX_SIDES = 10

# Frames of another shape than the one the boxes were made in are another cut of the video.
_MAX_STRETCH = 1.02


@dataclass(frozen=True)
class Reference:
    """Size of the frame that boxes are given in; None where it is not known.

    Without a width, pixels are taken to be square; without both, the boxes are in pixels of the clip's own frames. A
    frame of 1 x 1 means fractions.
    """

    width: float | None = None
    height: float | None = None

    def scale(self, width: int, height: int) -> tuple[float, float]:
        """What to multiply x and y with, to have pixels of a frame of this size.

        Raises:
            Rejected: box_outside, where the frame has another shape.
        """
        down = height / self.height if self.height else 1.0
        across = width / self.width if self.width else down
        # Fractions are of a frame of any shape.
        if (self.width or 0) > 1 and not 1 / _MAX_STRETCH <= across / down <= _MAX_STRETCH:
            raise Rejected(
                "box_outside",
                f"its boxes are for a frame of {self.width:g} x {self.height:g}, which has another shape than its own "
                f"{width} x {height}",
            )
        return across, down


@dataclass(frozen=True)
class Place:
    """Where a person finds the first of some boxes: a file below the folder of clips, and a line of it."""

    file: str
    line: int


class BoxTrack:
    """The boxes of one track.

    Args:
        rows: float64 (N, 5), N > 0: time_s, left, top, right, bottom, by increasing time.
        reach_s: how long before its first box, and after its last one, a track begins and ends.
        place: of the first row, where each has a line.
    """

    def __init__(
        self,
        track: Track,
        rows: NDArray[np.float64],
        reach_s: float,
        reference: Reference,
        place: Place | None = None,
    ) -> None:
        self.track, self._reference, self._place = track, reference, place
        self._times = rows[:, 0].tolist()
        self._edges = rows[:, 1:]
        self.start_s, self.end_s = self._times[0] - reach_s, self._times[-1] + reach_s

    def __len__(self) -> int:
        return len(self._times)

    def at(self, time_s: float, width: int, height: int) -> Box | None:
        """The box at a time, in pixels of a frame of this size, within the frame.

        Linear between its neighbours, and the nearest one before the first and after the last; None out of reach.

        Raises:
            Rejected: box_outside, as `count_clamped`.
        """
        if not self.start_s <= time_s <= self.end_s:
            return None
        times, edges = self._times, self._edges
        after = min(max(bisect_left(times, time_s), 1), len(times) - 1)
        before = max(after - 1, 0)
        length = times[after] - times[before]
        share = min(max((time_s - times[before]) / length, 0.0), 1.0) if length else 0.0
        between = (1 - share) * edges[before] + share * edges[after]
        return Box(*self._clamp(between[None], before, width, height)[0].tolist())

    def count_clamped(self, width: int, height: int) -> int:
        """How many of the boxes leave a frame of this size, and are cut back to it.

        Raises:
            Rejected: box_outside, where a box lies wholly outside, or is many times larger than the frame.
        """
        inside = self._clamp(self._edges, 0, width, height)
        moved = np.abs(inside - self._pixels(self._edges, width, height)).max(axis=1)
        # Sums of rounded fractions miss 1 by a last digit of floating point.
        return int((moved > 1e-6 * max(width, height)).sum())

    def _pixels(self, edges: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
        across, down = self._reference.scale(width, height)
        return edges * (across, down, across, down)

    def _clamp(self, edges: NDArray[np.float64], first: int, width: int, height: int) -> NDArray[np.float64]:
        """Boxes (N, 4) from row `first` on, in pixels and within the frame."""
        boxes = self._pixels(edges, width, height)
        outside = (boxes[:, :2] >= (width, height)).any(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
        huge = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) > _MAX_SIDES * max(width, height)
        if (outside | huge).any():
            bad = int(np.flatnonzero(outside | huge)[0])
            where = f"{self._place.file} line {self._place.line + first + bad}: " if self._place else ""
            corners = ", ".join(f"{edge:g}" for edge in edges[bad])
            raise Rejected(
                "box_outside",
                f"{where}({corners}) at {self._times[first + bad]:.2f} s in a frame of {width} x {height}",
            )
        return np.clip(boxes, 0, (width, height, width, height))


def split_at_gaps(
    rows: NDArray[np.float64],
    name: Callable[[int], Track],
    max_gap_s: float,
    reach_s: float,
    reference: Reference,
    place: Place | None = None,
) -> list[BoxTrack]:
    """Tracks, named from 0, out of boxes as BoxTrack takes them: where none came for longer than `max_gap_s`, another
    track begins. Tracks do not reach into each other."""
    reach_s = min(reach_s, max_gap_s / 2)
    gaps = np.flatnonzero(np.diff(rows[:, 0]) > max_gap_s * (1 + 1e-9)) + 1
    starts = [0, *gaps.tolist(), len(rows)]
    return [
        BoxTrack(
            name(number),
            rows[start:end],
            reach_s,
            reference,
            Place(place.file, place.line + start) if place else None,
        )
        for number, (start, end) in enumerate(pairwise(starts))
    ]
