"""The faces of one video or image: found, numbered by track, cropped as a network sees them."""

import math
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.faces.inputs import Input
from fabnet.video.clips import Clip
from fabnet.video.crop import Box, square
from fabnet.video.detect_and_track import ShotCuts
from fabnet.video.detectors import open_detector
from fabnet.video.faces import Face, Frame, Track, TrackEnd
from fabnet.video.frame_buffer import CropBuffer
from fabnet.video.images import image_frames
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Cropped, Folder
from fabnet.video.unit import crop_of


@dataclass(frozen=True)
class FaceCrop:
    """A face in a frame, cropped as the network sees it.

    Attributes:
        input: name of the video or image.
        track: number of the face within the input: one person through one shot.
        frame: number of the sample, at the sampling rate of the video.
        time_s: when the frame is shown, in seconds after the first one.
        box: the part of the frame that the crop shows, in pixels; the centre of the first pixel is (0.5, 0.5).
        image: uint8 (H, W, 3) RGB, encoded as JPEG and decoded again, as the crops of training are.
        score: the probability that the detector gives the face, 0 to 1; None where none was looked for, or the detector
            gives none.
    """

    input: str
    track: int
    frame: int
    time_s: float
    box: Box
    image: NDArray[np.uint8]
    score: float | None = None


class FaceTracks:
    """The faces of a clip as they are found, with tracks numbered in the order in which they appear.

    Whether a track is a face at all may be known only at its end, so `lost` is complete only after the last face.

    Args:
        events: as a source of clips gives them, see fabnet.video.faces.FindFaces.

    Attributes:
        counts: faces so far, by the number of the track.
        lost: why a track is of no use, by its number.
    """

    def __init__(self, events: Iterable[Face | TrackEnd]) -> None:
        self._events = events
        self._numbers: dict[str, int] = {}
        self.counts: dict[int, int] = {}
        self.lost: dict[int, Rejected] = {}

    def events(self) -> Iterator[tuple[int, Face | TrackEnd]]:
        """Every face and every end of a track, with the number of the track."""
        for event in self._events:
            number = self.number(event.track)
            if isinstance(event, Face):
                self.counts[number] = self.counts.get(number, 0) + 1
            elif event.rejected is not None:
                self.lost[number] = event.rejected
            yield number, event

    def __iter__(self) -> Iterator[tuple[int, Face]]:
        return ((number, event) for number, event in self.events() if isinstance(event, Face))

    def number(self, track: Track) -> int:
        return self._numbers.setdefault(track.id, len(self._numbers))

    def check_any(self) -> None:
        """Raises Rejected if no track is left, with the reason of the first that was lost."""
        if not self.counts.keys() - self.lost.keys():
            raise next(iter(self.lost.values()), None) or Rejected("no_face", "none was found")


class Faces:
    """The faces of one input in the order in which they were found, without those of lost tracks.

    Iterating gives a FaceCrop for each and can be repeated. Crops wait as JPEG, beyond 1 MiB of them in a temporary
    file, so that a long video fills no memory.

    Attributes:
        name: of the input.
        tracks: number of faces of each track, by the number of the track.
    """

    def __init__(self, name: str, found: FaceTracks, params: ExtractParams) -> None:
        """Find all faces.

        Args:
            name: of the input.
            found: its faces, none of which has been taken.
            params: of the crops.

        Raises:
            Rejected: the input is of no use, or shows no face.
        """
        buffer = CropBuffer()
        weakref.finalize(self, buffer.close)
        tracks, scores = array("q"), array("d")
        for number, face in found:
            buffer.append(crop_of(face, params))
            tracks.append(number)
            scores.append(math.nan if face.score is None else face.score)
        found.check_any()
        self.name = name
        self.tracks = {number: count for number, count in found.counts.items() if number not in found.lost}
        self._buffer, self._track, self._scores = buffer, tracks, scores
        self._kept = np.flatnonzero(~np.isin(np.array(tracks), list(found.lost)))

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[FaceCrop]:
        for row in self._kept.tolist():
            crop = self._buffer[row]
            image = simplejpeg.decode_jpeg(crop.jpeg, "RGB")
            score = None if math.isnan(self._scores[row]) else self._scores[row]
            yield FaceCrop(self.name, self._track[row], crop.frame_no, crop.time_s, crop.box, image, score)


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


def find_faces(
    each: Input, params: ExtractParams, watch: Callable[[Iterator[Frame]], Iterator[Frame]] = iter
) -> FaceTracks:
    """The faces of an input. An image is a video of one frame, in which every detection counts.

    Args:
        each: the video or image.
        params: under which faces are found and cropped.
        watch: sees the frames on their way to the detector; see Watched.

    Raises:
        Rejected: the input is of no use, which may be known only after some faces.
    """
    clip = Clip(each.path, each.name, "input", "input")
    source = Folder(params) if params.source == "folder" else Cropped(params)
    if each.kind == "video":
        return FaceTracks(source.find(clip)(watch(source.frames(clip))))
    find = partial(_detect, clip, params) if params.source == "folder" else source.find(clip)
    return FaceTracks(find(watch(image_frames([(0, 0.0, each.path)], params.clip_limit_s))))


def network_crop(face: Face, params: ExtractParams) -> tuple[NDArray[np.uint8], Box]:
    """The crop as training reads it, encoded as JPEG and decoded again, and the part of the frame that it shows.

    Args:
        face: in its frame.
        params: of the crop, see fabnet.video.unit.crop_of.

    Returns:
        uint8 (image_size, image_size, 3) RGB, and a box in pixels of the frame.
    """
    found = crop_of(face, params)
    return simplejpeg.decode_jpeg(found.jpeg, "RGB"), found.box


def _detect(clip: Clip, params: ExtractParams, frames: Iterator[Frame]) -> Iterator[Face]:
    """All that the detector finds in an image."""
    detector = open_detector(params.detection)
    for frame in frames:
        found = detector.find(frame.image)
        if not found:
            raise Rejected("no_face", f"{detector.name} found none")
        for number, face in enumerate(found):
            score = face.score if detector.probability else None
            yield Face(clip.track(number), 0, frame.time_s, frame.image, square(face.box, params.margin), score)
