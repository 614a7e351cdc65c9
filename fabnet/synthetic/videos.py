"""Writes the unlabelled videos: `<identity>/interview.mp4`, real H.264 files."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fabnet.config import SynthesizeParams
from fabnet.files import atomic_directory
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.processes import ordered_map
from fabnet.progress import Progress
from fabnet.synthetic import motion
from fabnet.synthetic.identity import Identity, sample_identity
from fabnet.synthetic.motion import Interview
from fabnet.synthetic.portable import generator
from fabnet.synthetic.render import render

_CRF = "16"

#: With its macroblock tree, x264 reads memory it never wrote: the same frames gave other bytes from run to run. And its
#: routines for an instruction set decide otherwise than those for another, unless told not to.
_X264 = "mbtree=0:cpu-independent=1"

_KEYFRAME_EVERY = 12


@dataclass(frozen=True)
class _Clip:
    path: Path
    seed: int
    number: int
    size: int
    seconds: float
    fps: float


def video_identity(number: int) -> str:
    """Name of the identity with this number, from 0, among the videos."""
    return f"syn{number + 1:04d}"


def interview_of(seed: int, number: int, seconds: float) -> tuple[Identity, Interview]:
    """The person and the motion of a video.

    Args:
        seed: of the data set.
        number: of the person.
        seconds: length of the video.
    """
    rng = generator(seed, "video", number)
    return sample_identity(rng, motion.BACKGROUNDS, motion.SATURATION), Interview(rng, seconds)


def write_videos(directory: Path | str, params: SynthesizeParams) -> None:
    """Draw and encode `params.videos.identities` interviews below `directory`, which appears when all are done.

    The files depend on `params` but for `workers`, byte for byte.

    Args:
        directory: that is made.
        params: the section `synthesize`.
    """
    videos = params.videos
    with atomic_directory(directory) as temporary, Progress("videos", videos.identities, "videos") as progress:
        clips = [
            _Clip(
                path=temporary / video_identity(number) / "interview.mp4",
                seed=params.seed,
                number=number,
                size=params.image_size,
                seconds=videos.seconds,
                fps=videos.fps,
            )
            for number in range(videos.identities)
        ]
        for _ in ordered_map(_write_clip, clips, params.workers):
            progress.advance()


def _write_clip(clip: _Clip) -> None:
    identity, interview = interview_of(clip.seed, clip.number, clip.seconds)
    frames = max(1, round(clip.seconds * clip.fps))
    clip.path.parent.mkdir(parents=True, exist_ok=True)
    encode(
        clip.path,
        (render(identity, interview(index / clip.fps), clip.size) for index in range(frames)),
        clip.fps,
        clip.size,
    )


def encode(path: Path, frames: Iterable[np.ndarray], fps: float, size: int) -> None:
    """Write square RGB frames, uint8 (size, size, 3), as H.264 in mp4; equal frames give equal bytes.

    Args:
        path: of the mp4 file.
        frames: one at a time.
        fps: frames per second.
        size: side in pixels, even.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        options = {"crf": _CRF, "preset": "medium", "flags": "+bitexact", "threads": "1", "x264-params": _X264}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = _KEYFRAME_EVERY
        stream.thread_count = 1
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", interpolation=SAME_EVERYWHERE)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
