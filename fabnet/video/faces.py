"""What passes through an extraction: decoded frames, the faces found in them, and the tracks those belong to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fabnet.video.crop import Box
from fabnet.video.reject import Rejected


@dataclass(frozen=True)
class Frame:
    """A frame as a player shows it: upright, with square pixels.

    Attributes:
        time_s: when its display began, in seconds after the clip's first frame.
        samples: numbers k of the samples, at k / fps, that show it: none where it is only looked at, several where it
            is displayed longer than 1 / fps.
        looked_at: whether a detector should look at it: every k-th decoded frame.
        image: uint8 (H, W, 3), RGB.
    """

    time_s: float
    samples: tuple[int, ...]
    looked_at: bool
    image: NDArray[np.uint8]


@dataclass
class Tally:
    """What was left out of a clip.

    Attributes:
        damaged: samples on whose frames damage may show.
    """

    damaged: int = 0


@dataclass(frozen=True)
class Track:
    """One face through one shot. `id` is unique in an extraction and holds no white space."""

    id: str
    identity: str
    video: str


@dataclass(frozen=True)
class Face:
    """A face in a sample of a clip.

    Attributes:
        number: of the sample; increases within a track.
        box: the square to crop, with whole-pixel edges; touches the image.
        score: the probability that the detector gives the face, 0 to 1; None where the box was given, or the detector
            gives none.
    """

    track: Track
    number: int
    time_s: float
    image: NDArray[np.uint8]
    box: Box
    score: float | None = None


@dataclass(frozen=True)
class TrackEnd:
    """No more faces of a track will come.

    Attributes:
        rejected: why the track is of no use, where whoever found it knows.
        clamped: boxes of its annotation that left the frame and were cut back to it.
        replaced: whether another face came in its place within the shot.
    """

    track: Track
    rejected: Rejected | None = None
    clamped: int = 0
    replaced: bool = False


#: Turns the frames of one clip, by increasing time, into the faces in them. The faces of several tracks may come
#: interleaved, each track's by increasing number; a track without a TrackEnd ends with the clip. Holds few frames at a
#: time. Raises Rejected where the whole clip is of no use.
FindFaces: TypeAlias = Callable[[Iterator[Frame]], Iterator[Face | TrackEnd]]
