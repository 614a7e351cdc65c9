"""An upload becomes faces: crops, and where and when they were seen, found by a process of its own within limits.

Uploads are decoded outside the server, so that a crash or a decoder that hangs costs that upload alone.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet import processes
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces import found as new_faces
from fabnet.faces.found import Watched
from fabnet.faces.inputs import IMAGE_SUFFIXES, Input
from fabnet.inference.app.guard import FPS, LIMIT_S, MAX_BYTES, MAX_FACES, MAX_SECONDS
from fabnet.video.decode import announced_duration, open_video
from fabnet.video.faces import Frame
from fabnet.video.reject import Deadline, Rejected
from fabnet.video.unit import crop_of

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
#: Pixels of the longest side of a frame as it is shown.
_SHOWN = 480
# Beyond LIMIT_S, which is kept between frames: a process that is still at it hangs within one of them.
_SLACK_S = 10.0


@dataclass(frozen=True)
class UploadFaces:
    """N >= 1 faces, those of a track one after another by time, the track with the most faces first.

    Attributes:
        crops_NHWC: uint8, as the network sees them.
        tracks_N: number of the track of each: one face through one shot.
        times_N: when its frame is shown, in seconds.
        regions_N4: left, top, right, bottom of what the crop shows, in pixels of the shown frame.
        sides_N: side of that square, in pixels of the upload.
        scores_N: probability that the detector gives each; NaN where it gives none.
        samples_N: number of the sample that shows each.
        frames: JPEG of the frame of each, shrunk.
        fps: samples per second.
        samples: how many there are, with a face or without.
        cuts_s: when shots begin, but the first.
    """

    crops_NHWC: NDArray[np.uint8]
    tracks_N: NDArray[np.int64]
    times_N: NDArray[np.float64]
    regions_N4: NDArray[np.float64]
    sides_N: NDArray[np.float64]
    scores_N: NDArray[np.float64]
    samples_N: NDArray[np.int64]
    frames: tuple[bytes, ...]
    fps: float
    samples: int
    cuts_s: tuple[float, ...]

    def frame(self, number: int) -> NDArray[np.uint8]:
        """The frame of a face as it is shown, (H, W, 3)."""
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.frames[number], "RGB")
        return image


@dataclass(frozen=True)
class _Job:
    path: Path
    params: ExtractParams
    out: Path


def find_faces(path: Path, params: ExtractParams) -> UploadFaces:
    """The faces of an upload, found in a process of its own.

    Args:
        path: the upload; its content, not its name, tells an image from a clip.
        params: how to look and crop; the rate of frames and the limit of time are those of the page.

    Raises:
        UserError: in one line, why there are none.
    """
    params = params.model_copy(update={"clip_limit_s": LIMIT_S})
    with TemporaryDirectory(prefix="fabnet-app-") as folder:
        job = _Job(path, params, Path(folder) / "faces.npz")
        if not processes.run_isolated(_find, job, LIMIT_S + _SLACK_S):
            raise UserError(f"{shown_name(path)}: decoding it failed, or took more than {LIMIT_S:g} s")
        with np.load(job.out, allow_pickle=False) as found:
            ends = found["ends"].tolist()
            data = found["frames"].tobytes()
            return UploadFaces(
                found["crops"],
                found["tracks"],
                found["times"],
                found["regions"],
                found["sides"],
                found["scores"],
                found["samples"],
                tuple(data[start:end] for start, end in zip([0, *ends], ends, strict=False)),
                float(found["fps"]),
                int(found["count"]),
                tuple(found["cuts"].tolist()),
            )


def shown_name(path: Path) -> str:
    """A file's name for a message: printable, and not too long."""
    name = "".join(letter if letter.isprintable() else "?" for letter in path.name)
    return name if len(name) <= 60 else f"{name[:40]}…{name[-19:]}"


def _find(job: _Job) -> None:
    cv2.setNumThreads(0)
    watched = Watched()
    try:
        found, fps = _look(job.path, job.params, watched)
    except Rejected as rejected:
        raise UserError(f"{shown_name(job.path)}: {_words(rejected, job.path)}") from None
    frames = [one.frame for one in found]
    np.savez(
        job.out,
        crops=np.stack([one.crop for one in found]),
        tracks=np.array([one.track for one in found]),
        times=np.array([one.time_s for one in found]),
        regions=np.array([one.region for one in found]),
        sides=np.array([one.side for one in found]),
        scores=np.array([one.score for one in found], np.float64),  # None becomes NaN
        samples=np.array([one.sample for one in found]),
        frames=np.frombuffer(b"".join(frames), np.uint8),
        ends=np.cumsum([len(frame) for frame in frames]),
        fps=fps,
        count=len(watched.times_T),
        cuts=watched.cuts_C,
    )


class _Found(NamedTuple):
    """A face; attributes as of UploadFaces."""

    crop: NDArray[np.uint8]
    track: int
    time_s: float
    region: tuple[float, ...]
    side: float
    score: float | None
    sample: int
    frame: bytes


def _look(path: Path, params: ExtractParams, watched: Watched) -> tuple[list[_Found], float]:
    """Every face in the order of UploadFaces, and the rate of samples."""
    each = _input(path)
    if each.kind == "video":
        with open_video(path, Deadline(LIMIT_S)) as (container, stream):
            _check_length(float(announced_duration(container, stream)))
            # Of a slower clip, no frame comes twice.
            fps = min(FPS, float(stream.average_rate or FPS))
            params = params.model_copy(update={"fps": fps})
    faces = new_faces.find_faces(each, params, lambda frames: watched(_short(frames)))
    found: list[_Found] = []
    for track, face in faces:
        if len(found) == MAX_FACES:
            raise Rejected("too_large", f"more than {MAX_FACES} faces in it; cut a shorter clip")
        crop = crop_of(face, params)
        frame, scale = _shrunk(face.image)
        region = tuple(edge * scale for edge in astuple(crop.box))
        image, side = simplejpeg.decode_jpeg(crop.jpeg, "RGB"), crop.box.right - crop.box.left
        found.append(_Found(image, track, face.time_s, region, side, face.score, face.number, frame))
    faces.check_any()
    kept = [one for one in found if one.track not in faces.lost]
    return sorted(kept, key=lambda one: (-faces.counts[one.track], one.track, one.time_s)), params.fps


def _input(path: Path) -> Input:
    """What the file is, by its first bytes or, for the sake of the error about a damaged image, its suffix."""
    status = path.stat()
    if status.st_size > MAX_BYTES:
        raise Rejected("too_large", f"{status.st_size:,} bytes; at most {MAX_BYTES:,} are taken")
    with path.open("rb") as file:
        is_image = file.read(8).startswith(_IMAGES)
    is_image = is_image or path.suffix.lower() in IMAGE_SUFFIXES
    return Input(path, path.name, "image" if is_image else "video", status.st_size, status.st_mtime_ns)


def _short(frames: Iterator[Frame]) -> Iterator[Frame]:
    for frame in frames:
        _check_length(frame.time_s)
        yield frame


def _check_length(seconds: float) -> None:
    if seconds > MAX_SECONDS:
        raise Rejected("too_slow", f"lasts {seconds:.1f} s; at most {MAX_SECONDS:g} s are taken: cut a shorter clip")


def _words(rejected: Rejected, path: Path) -> str:
    detail = rejected.detail.removeprefix(f"{path.name}: ")
    if rejected.reason == "no_face":
        return f"no face in it: {detail}"
    if rejected.reason == "unreadable" and detail.startswith("not a video"):
        return "neither a JPEG or PNG image nor a clip that can be decoded"
    return detail


def _shrunk(image: NDArray[np.uint8]) -> tuple[bytes, float]:
    height, width = image.shape[:2]
    scale = min(1.0, _SHOWN / max(height, width))
    if scale < 1:
        side = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=85, colorspace="RGB"), scale
