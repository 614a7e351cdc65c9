"""The faces of a driving video, frame by frame, kept in a temporary file: which to use is known only at its end.

A face may turn out to be an error of the detector when its track ends, and a file may turn out to be damaged.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.inference.inputs import Input
from fabnet.progress import Progress
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.detected import detected
from fabnet.video.faces import Face, Frame, Track, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.cropped import centred
from fabnet.video.unit import crop_of

# Samples of a grid are not asked for: every frame of the file comes, at its own time.
_FPS = 1.0


@dataclass(frozen=True)
class Driven:
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
    """Takes a video in (`read`), then gives its frames (`frames`). A context: its file goes with it.

    Of several faces in a frame, that of the track with the most faces is taken. Memory is some dozens of bytes for a
    frame and a face; crops wait on disk.

    Args:
        size: side in pixels of the result.
        keep_shown: whether the result shows the driving face as well.
    """

    def __init__(self, params: ExtractParams, size: int, keep_shown: bool) -> None:
        self._params = params
        self._wide = params.model_copy(update={"image_size": size}) if keep_shown else None
        self._jpegs = TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._times = array("d")
        # By face: number of the frame, number of the track, where its crops begin, and bytes of the one and the other.
        self._faces = array("q")
        self._tracks: dict[str, int] = {}
        self._lost: dict[int, Rejected] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jpegs.close()

    def __len__(self) -> int:
        """Frames of the video."""
        return len(self._times)

    @property
    def last_s(self) -> float:
        """When the last frame begins."""
        return self._times[-1]

    def read(self, video: Input, progress: Progress) -> None:
        """Decode the whole video and find its faces.

        Raises:
            Rejected: it is damaged, or shows no face.
        """
        clip = Clip(video.path, video.name, "driving", "driving")
        decoded = frames(video.path, _FPS, every=1, limit_s=self._params.clip_limit_s)
        find = detected(clip, self._params) if self._params.source == "folder" else centred(clip)
        for event in find(self._numbered(decoded, progress)):
            if not isinstance(event, TrackEnd):
                self._keep(event)
            elif event.rejected is not None:
                self._lost[self._number(event.track)] = event.rejected
        if not self._of_frames()[0].any():
            raise next(iter(self._lost.values()), None) or Rejected("no_face", "none was found")

    def frames(self) -> Iterator[Driven]:
        """Every frame by time, each with its face."""
        has, rows = self._of_frames()
        for time_s, found, row in zip(self._times, has, rows, strict=True):
            if not found:
                yield Driven(time_s, None, None)
                continue
            _, _, begin, own, wide = row.tolist()
            self._jpegs.seek(begin)
            crop = simplejpeg.decode_jpeg(self._jpegs.read(own), "RGB")
            shown = simplejpeg.decode_jpeg(self._jpegs.read(wide), "RGB") if wide else None
            yield Driven(time_s, crop, shown)

    def _numbered(self, decoded: Iterator[Frame], progress: Progress) -> Iterator[Frame]:
        """Every frame of the file as a sample of its own; the detector looks at as many as its params say."""
        every = self._params.detection.every
        for number, frame in enumerate(decoded):
            self._times.append(frame.time_s)
            progress.advance()
            yield replace(frame, samples=(number,), looked_at=number % every == 0)

    def _keep(self, face: Face) -> None:
        own = crop_of(face, self._params).jpeg
        wide = crop_of(face, self._wide).jpeg if self._wide else b""
        self._faces.extend((face.number, self._number(face.track), self._jpegs.tell(), len(own), len(wide)))
        self._jpegs.write(own + wide)

    def _number(self, track: Track) -> int:
        return self._tracks.setdefault(track.id, len(self._tracks))

    def _of_frames(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each frame has a face, (F,), and the row of `_faces` that it has, (F, 5)."""
        faces = np.array(self._faces, dtype=np.int64).reshape(-1, 5)
        faces = faces[~np.isin(faces[:, 1], list(self._lost))]
        lengths = np.bincount(faces[:, 1], minlength=1)
        # Of equal frames the last row stays: that of the longest track.
        faces = faces[np.argsort(lengths[faces[:, 1]], kind="stable")]
        rows = np.zeros((len(self._times), 5), dtype=np.int64)
        has = np.zeros(len(self._times), dtype=bool)
        rows[faces[:, 0]], has[faces[:, 0]] = faces, True
        return has, rows


def length_of(path: Path) -> int:
    """About how many frames a video has, for a bar of progress; 0 where its header does not tell."""
    from fabnet.video.container import announced_duration, open_video
    from fabnet.video.limits import Deadline

    with open_video(path, Deadline(60.0)) as (container, stream):
        return stream.frames or round(float(announced_duration(container, stream) * (stream.average_rate or 0)))
