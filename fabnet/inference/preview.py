"""What a network will see of a video, as one contact sheet, in memory that does not grow with the video."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import simplejpeg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.found import find_faces
from fabnet.faces.inputs import find_input
from fabnet.figures.preview import ShownFrame, ShownTrack, clock, preview_sheet
from fabnet.video.faces import Face, Frame, Track, TrackEnd
from fabnet.video.frame_buffer import TrackBuffer
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected
from fabnet.video.unit import crop_of, judge

_FRAMES, _CROPS, _TRACKS = 15, 11, 12
#: Pixels of the longest side of a shown frame.
_LONGEST = 480

T = TypeVar("T")


class Thinned(Generic[T]):
    """Of a sequence whose length is not known beforehand: all its items, or at least `least` that are evenly spaced."""

    def __init__(self, least: int) -> None:
        self._most = 2 * least
        self._every = 1
        self._seen = 0
        self.items: list[T] = []

    def add(self, make: Callable[[], T]) -> None:
        """Take note of the next item, which is made only if it is kept."""
        if self._seen % self._every == 0:
            self.items.append(make())
            if len(self.items) > self._most:
                self.items = self.items[::2]
                self._every *= 2
        self._seen += 1

    def spread(self, count: int) -> list[T]:
        """At most `count` of the items, the first and the last among them."""
        if len(self.items) <= count:
            return self.items
        return [self.items[i] for i in np.linspace(0, len(self.items) - 1, count).round().astype(int)]


@dataclass
class _SampledFrame:
    """Sample `number`, shrunk by `scale`, and the boxes that were found in it."""

    number: int
    time_s: float
    image: NDArray[np.uint8]
    scale: float
    boxes: list[tuple[int, float, float, float, float]] = field(default_factory=list)


@dataclass
class _PreviewTrack:
    """A track so far."""

    number: int
    buffer: TrackBuffer
    first_s: float
    last_s: float
    rejected: str = ""
    crops: Thinned[tuple[float, NDArray[np.uint8]]] = field(default_factory=lambda: Thinned(_CROPS))


@dataclass(frozen=True)
class Preview:
    """A contact sheet, numbers of samples and tracks, and why the video or some of its tracks were rejected."""

    sheet: Figure
    frames: int
    tracks: int
    rejects: list[str]


def preview(path: str, params: ExtractParams) -> Preview:
    """Find the faces of a video, or image, and draw what was found and which tracks `extract` would reject.

    Args:
        path: of a video or an image.
        params: how faces are found and cropped, and which tracks are too short or too poor.

    Raises:
        UserError: there is no such file, or no frame of it can be read.
    """
    video = find_input(path, "a preview shows one video")
    problem = ""
    with ExitStack() as buffers:
        gathered = _Gathered(params, buffers)
        try:
            for number, event in find_faces(video, params, gathered.watch).events():
                gathered.end(number, event) if isinstance(event, TrackEnd) else gathered.face(number, event)
            # An image is no track that could be too short.
            if video.kind == "video":
                gathered.judge()
        except Rejected as reject:
            problem = f"{reject.reason}: {reject.detail}"
    # What was seen before the damage is still drawn, below a line that says what is wrong.
    if problem and not gathered.frames:
        raise UserError(f"{path}: {problem}")
    # The longest tracks, then in the order of their appearance.
    tracks = sorted(gathered.tracks.values(), key=lambda track: (-len(track.buffer), track.number))
    shown = sorted(tracks[:_TRACKS], key=lambda track: track.number)
    crops = recipe(params)
    lines = [
        f"{gathered.size}, frames from 0:00.0 to {clock(gathered.last_s)}, {params.fps:g} per second; "
        f"samples: {gathered.frames}, tracks: {len(tracks)}, faces: {sum(len(track.buffer) for track in tracks)}",
        f"recipe {crops['hash']}: faces {crops['source']}, margin {params.margin:g}, {params.image_size} px crops"
        + (", re-cropped as the authors did" if params.recrop == "authors" else ""),
    ]
    sheet = preview_sheet(
        Path(video.name).name,
        lines,
        problem,
        [ShownFrame(one.time_s, one.image, one.boxes) for one in gathered.shown.spread(_FRAMES)],
        [
            ShownTrack(one.number, len(one.buffer), one.first_s, one.last_s, one.crops.spread(_CROPS), one.rejected)
            for one in shown
        ],
        len(tracks) - len(shown),
    )
    rejects = [f"track {one.number}: {one.rejected}" for one in gathered.tracks.values() if one.rejected]
    return Preview(sheet, gathered.frames, len(tracks), [problem] * bool(problem) + rejects)


class _Gathered:
    """What has been seen of a video so far: of all samples some, of all tracks some crops."""

    def __init__(self, params: ExtractParams, buffers: ExitStack) -> None:
        self._params, self._buffers = params, buffers
        self.shown: Thinned[_SampledFrame] = Thinned(_FRAMES)
        self.tracks: dict[int, _PreviewTrack] = {}
        self.size, self.last_s, self.frames = "", 0.0, 0

    def watch(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            height, width = frame.image.shape[:2]
            self.size, self.last_s = self.size or f"{width} × {height} px", frame.time_s
            for number in frame.samples:
                self.frames += 1
                self.shown.add(partial(_shrunk, number, frame))
            yield frame

    def face(self, number: int, face: Face) -> None:
        track = self._track(number, face.track, face.time_s)
        crop = crop_of(face, self._params)
        track.buffer.add(crop, face.box.right - face.box.left)
        track.last_s = face.time_s
        track.crops.add(lambda: (face.time_s, simplejpeg.decode_jpeg(crop.jpeg, "RGB")))
        for one in self.shown.items:
            if one.number == face.number:
                left, top, right, bottom = (edge * one.scale for edge in astuple(face.box))
                one.boxes.append((track.number, left, top, right, bottom))

    def end(self, number: int, end: TrackEnd) -> None:
        track = self._track(number, end.track, self.last_s)
        if end.rejected is not None:
            track.rejected = f"{end.rejected.reason}: {end.rejected.detail}"

    def judge(self) -> None:
        """Say of the tracks that ended well what an extraction would."""
        for track in self.tracks.values():
            rejected = None if track.rejected else judge(track.buffer, self._params)
            if rejected is not None:
                track.rejected = f"{rejected.reason}: {rejected.detail}"

    def _track(self, number: int, track: Track, time_s: float) -> _PreviewTrack:
        if number not in self.tracks:
            buffer = self._buffers.enter_context(TrackBuffer(track))
            self.tracks[number] = _PreviewTrack(number, buffer, time_s, time_s)
        return self.tracks[number]


def _shrunk(number: int, frame: Frame) -> _SampledFrame:
    height, width = frame.image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    side = max(1, round(width * scale)), max(1, round(height * scale))
    image = frame.image if scale == 1 else cv2.resize(frame.image, side, interpolation=cv2.INTER_AREA)
    return _SampledFrame(number, frame.time_s, image, scale)
