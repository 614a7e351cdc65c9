"""What passes by while faces are looked for: when the samples of a video are shown, and where it is cut."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabnet.video.detect_and_track import ShotCuts
from fabnet.video.faces import Frame


class Watched:
    """Give it to `find_faces` as `watch`; it is complete when all faces have come.

    A cut is seen between frames that come one after another: all that are looked at and sampled, as in tracking.
    """

    def __init__(self) -> None:
        self._times = array("d")
        self._cuts = array("d")
        self._shots = ShotCuts()

    def __call__(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if self._shots.is_cut(frame.image):
                self._cuts.append(frame.time_s)
            self._times.extend([frame.time_s] * len(frame.samples))
            yield frame

    @property
    def times_T(self) -> NDArray[np.float64]:
        """When the frame of each sample is shown, in seconds; a sample's number is its place."""
        return np.array(self._times)

    @property
    def cuts_C(self) -> NDArray[np.float64]:
        """When the first frame of each further shot is shown, in seconds."""
        return np.array(self._cuts)
