"""The faces of a driving video, frame by frame. Crops wait in a buffer: which to use is known only at the end.

A face may turn out to be an error of the detector when its track ends, and a file may turn out to be damaged.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.faces.found import FaceTracks
from fabnet.faces.inputs import Input
from fabnet.progress import Progress
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.detect_and_track import detect_and_track
from fabnet.video.faces import Frame
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
