"""One face moved as another: the flow between a picture's embedding and those of a video's frames, frame by frame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.found import find_faces, network_crop
from fabnet.faces.inputs import Input, find_input
from fabnet.figures.preview import clock
from fabnet.files import atomic_file
from fabnet.inference.driving import Driving, DrivingFrame, length_of
from fabnet.inspection.network import embeddings, flows, moved
from fabnet.networks.fabnet import FabNet
from fabnet.progress import Progress
from fabnet.video.clip_writer import rate_of, time_base_of, write_clip
from fabnet.video.faces import Face
from fabnet.video.reject import Rejected

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
