"""One face moved as another: the flow between a picture's embedding and those of a video's frames, frame by frame.

Crops of the driving video wait in a buffer, since which to use is known only at the end: a face may turn out to be an
error of the detector when its track ends, and a file may turn out to be damaged.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.found import FaceTracks, find_faces, network_crop
from fabnet.faces.inputs import Input, find_input
from fabnet.figures.preview import clock
from fabnet.files import atomic_file
from fabnet.inspection.network import embeddings, flows, moved
from fabnet.networks.fabnet import FabNet
from fabnet.progress import Progress
from fabnet.video.clip_writer import rate_of, time_base_of, write_clip
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.detect_and_track import detect_and_track
from fabnet.video.faces import Face, Frame
from fabnet.video.frame_buffer import CropBuffer
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import centred
from fabnet.video.unit import crop_of

# Samples of a grid are not asked for: every frame of the file comes, at its own time.
_FPS = 1.0


@dataclass(frozen=True)
class DrivingFrame:
    """A frame of the driving video.

    Attributes:
        time_s: when its display begins, after the first frame's.
        crop: its face as the network sees it, uint8 (H, W, 3); None where there is none.
        shown: the same part of the frame at the size of the result.
    """

    time_s: float
    crop: NDArray[np.uint8] | None
    shown: NDArray[np.uint8] | None


class Driving:
    """Reads a video (`read`), then gives its frames (`frames`). A context manager, which deletes its temporary files.

    Of several faces in a frame, that of the track with the most faces is taken. Memory grows by some dozens of bytes
    for each frame and face; crops wait on disk.

    Args:
        size: side in pixels of the result.
        keep_shown: whether the result shows the driving face as well.
    """

    def __init__(self, params: ExtractParams, size: int, keep_shown: bool) -> None:
        self._params = params
        self._wide = params.model_copy(update={"image_size": size}) if keep_shown else None
        self._crops = CropBuffer()
        self._times = array("d")
        # By face: number of the frame, number of the track, and number of its first crop.
        self._faces = array("q")
        self._lost: dict[int, Rejected] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._crops.close()

    def __len__(self) -> int:
        """Frames of the video."""
        return len(self._times)

    @property
    def last_s(self) -> float:
        """When the last frame begins."""
        return self._times[-1]

    def read(self, video: Input, progress: Progress) -> None:
        """Decode the whole video and find its faces.

        Args:
            video: the driving video.
            progress: is advanced by a frame for each that is decoded.

        Raises:
            Rejected: it is damaged, or shows no face.
        """
        clip = Clip(video.path, video.name, "driving", "driving")
        limit_s, max_damaged = self._params.clip_limit_s, self._params.max_damaged
        decoded = frames(video.path, _FPS, every=1, limit_s=limit_s, max_damaged=max_damaged)
        find = detect_and_track(clip, self._params) if self._params.source == "folder" else centred(clip)
        faces = FaceTracks(find(self._numbered(decoded, progress)))
        for track, face in faces:
            self._faces.extend((face.number, track, self._crops.append(crop_of(face, self._params))))
            if self._wide is not None:
                self._crops.append(crop_of(face, self._wide))
        self._lost = faces.lost
        faces.check_any()

    def frames(self) -> Iterator[DrivingFrame]:
        """Every frame by time, each with its face."""
        has, rows = self._of_frames()
        for time_s, found, row in zip(self._times, has, rows.tolist(), strict=True):
            if not found:
                yield DrivingFrame(time_s, None, None)
                continue
            crop = self._decoded(row)
            yield DrivingFrame(time_s, crop, None if self._wide is None else self._decoded(row + 1))

    def _decoded(self, number: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(self._crops[number].jpeg, "RGB")
        return image

    def _numbered(self, decoded: Iterator[Frame], progress: Progress) -> Iterator[Frame]:
        """Every frame of the file as a sample of its own; the detector looks at as many as its params say."""
        every = self._params.detection.every
        for number, frame in enumerate(decoded):
            self._times.append(frame.time_s)
            progress.advance()
            yield replace(frame, samples=(number,), looked_at=number % every == 0)

    def _of_frames(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each frame has a face, (F,), and the number of its first crop, (F,)."""
        faces = np.array(self._faces, dtype=np.int64).reshape(-1, 3)
        faces = faces[~np.isin(faces[:, 1], list(self._lost))]
        lengths = np.bincount(faces[:, 1], minlength=1)
        # Of equal frames the last row stays: that of the longest track.
        faces = faces[np.argsort(lengths[faces[:, 1]], kind="stable")]
        crops = np.zeros(len(self._times), dtype=np.int64)
        has = np.zeros(len(self._times), dtype=bool)
        crops[faces[:, 0]], has[faces[:, 0]] = faces[:, 2], True
        return has, crops


def length_of(path: Path) -> int:
    """Approximate number of frames of a video, for the progress bar; 0 where its header does not say."""
    from fabnet.video.decode import announced_duration, open_video
    from fabnet.video.reject import Deadline

    with open_video(path, Deadline(60.0)) as (container, stream):
        return stream.frames or round(float(announced_duration(container, stream) * (stream.average_rate or 0)))


SUFFIX = ".mp4"
_BATCH = 32


@dataclass(frozen=True)
class Source:
    """The face that is moved.

    Attributes:
        crop: as the network sees it, uint8 (H, W, 3).
        shown: the same part of the picture at the size of the result.
    """

    crop: NDArray[np.uint8]
    shown: NDArray[np.uint8]


@dataclass(frozen=True)
class AnimationSummary:
    """Frames that were written, and those without a face of their own, the first of them at `first_held_s`."""

    frames: int
    held: int
    first_held_s: float | None

    def warning(self) -> str:
        """A line about frames without a face; empty if every frame had one."""
        if self.first_held_s is None:
            return ""
        return (
            f"{self.held} of {self.frames} frames show no face, the first at {clock(self.first_held_s)}: "
            "the result before is held there (at the beginning: the source as it is)"
        )


def animate(
    source_image: str,
    driving_video: str,
    out: Path,
    network: FabNet,
    params: ExtractParams,
    size: int = 256,
    beside: bool = False,
    relative: bool = False,
) -> AnimationSummary:
    """Write `out`, an MP4 as long as the driving video and at its frame rate, atomically.

    Args:
        source_image: path of the picture whose largest face is moved.
        driving_video: path of the video whose frames it follows; one face at a time, the largest.
        out: the file to write, `.mp4`.
        network: in evaluation mode; must have a flow.
        params: how faces are found and cropped.
        size: side of the result in pixels, even; the flow is enlarged, the source cut out at this size.
        beside: the driving face on the left, the result on the right.
        relative: the source moves as the driving face does since its first frame, and does not take its pose.

    Raises:
        UserError: an input is of no use, or `out` cannot be written; says why.
    """
    if out.suffix.lower() != SUFFIX or out.is_dir():
        raise UserError(f"{out}: the result is an MP4 file; name it {out.stem or 'result'}{SUFFIX}")
    if size < 16 or size % 2:
        raise UserError(f"--size {size}: must be even and at least 16")
    image, video = _input(source_image, "image"), _input(driving_video, "video")
    if out.exists() and out.resolve() == video.path.resolve():
        raise UserError(f"{out}: is the driving video; name another file for the result")
    source = find_source(image, params, size)
    with Driving(params, size, beside) as driving:
        try:
            time_base = time_base_of(video.path)
            with Progress("find faces", length_of(video.path), "frames") as progress:
                driving.read(video, progress)
        except Rejected as rejected:
            raise UserError(f"{video.name}: {_words(rejected)}") from None
        held, rate = _Held(), rate_of(len(driving), driving.last_s)
        with (
            atomic_file(out) as temporary,
            write_clip(temporary, size * (1 + beside), size, rate, time_base) as clip,
            Progress("animate", len(driving), "frames") as progress,
        ):
            for frame, result in _results(network, source, held.watch(driving.frames()), relative):
                clip.add(frame.time_s, np.hstack((_shown(frame, size), result)) if beside else result)
                progress.advance()
        return AnimationSummary(len(driving), held.count, held.first_s)


def find_source(image: Input, params: ExtractParams, size: int) -> Source:
    """The largest face of a picture.

    Args:
        image: the picture.
        params: how faces are found and cropped; `image_size` is the side of the network's crop in pixels.
        size: side in pixels of the crop that the flow moves.

    Raises:
        UserError: there is none, or the picture cannot be read.
    """
    try:
        largest = max((face for _, face in find_faces(image, params)), key=_side, default=None)
    except Rejected as rejected:
        raise UserError(f"{image.name}: {_words(rejected)}") from None
    if largest is None:
        raise UserError(f"{image.name}: no face in it")
    crop, _ = network_crop(largest, params)
    shown, _ = network_crop(largest, params.model_copy(update={"image_size": size}))
    return Source(crop, shown)


class _Held:
    """Counts the frames without a face."""

    def __init__(self) -> None:
        self.count = 0
        self.first_s: float | None = None

    def watch(self, frames: Iterable[DrivingFrame]) -> Iterator[DrivingFrame]:
        for frame in frames:
            if frame.crop is None:
                self.count += 1
                self.first_s = frame.time_s if self.first_s is None else self.first_s
            yield frame


def _results(
    network: FabNet, source: Source, frames: Iterable[DrivingFrame], relative: bool
) -> Iterator[tuple[DrivingFrame, NDArray[np.uint8]]]:
    """Each frame with the source moved as it, or as the last one that had a face."""
    (own,) = embeddings(network, source.crop[None])
    first: NDArray[np.float32] | None = None
    last = source.shown
    rest = iter(frames)
    while batch := list(islice(rest, _BATCH)):
        crops = [frame.crop for frame in batch if frame.crop is not None]
        made: Iterator[NDArray[np.uint8]] = iter(())
        if crops:
            targets = embeddings(network, np.stack(crops))
            if relative:
                first = targets[0] if first is None else first
                targets = own + (targets - first)
            along = flows(network, np.repeat(own[None], len(crops), axis=0), targets)
            made = iter(moved(np.repeat(source.shown[None], len(crops), axis=0), along))
        for frame in batch:
            last = last if frame.crop is None else next(made)
            yield frame, last


def _shown(frame: DrivingFrame, size: int) -> NDArray[np.uint8]:
    return np.zeros((size, size, 3), dtype=np.uint8) if frame.shown is None else frame.shown


def _input(name: str, kind: str) -> Input:
    found = find_input(name, f"name one {'picture' if kind == 'image' else 'video'}")
    if found.kind != kind:
        wanted = "a picture, JPEG or PNG" if kind == "image" else "a video"
        raise UserError(f"{name}: the {'source' if kind == 'image' else 'driving'} must be {wanted}")
    return found


def _side(face: Face) -> float:
    return face.box.right - face.box.left


def _words(rejected: Rejected) -> str:
    return f"no face in it: {rejected.detail}" if rejected.reason in ("no_face", "lost") else rejected.detail
