"""What FaceMesh, the teacher, reads of the faces of one clip: the labels of a scorecard, each beside its crop.

A clip becomes a part: a Parquet file of at most some faces, evenly spaced in time, and in its metadata how many frames
were sampled and in how many no face was found. Which tracks turn out to be no faces is known at the end of a clip only.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.faces.found import FaceTracks, Watched, find_faces
from fabnet.faces.inputs import Input
from fabnet.files import atomic_file, read_json
from fabnet.video.blazeface import roll_in
from fabnet.video.crop import Box
from fabnet.video.crop_quality import face_in
from fabnet.video.faces import Face
from fabnet.video.mesh import FaceReading, read_face
from fabnet.video.reject import Rejected
from fabnet.video.unit import crop_of

#: What the mesh reads, beside the landmarks.
READINGS = ("roll_deg", "pitch_deg", "yaw_deg", "mouth_open")

_COLUMNS = pa.schema(
    [
        ("sample", pa.int64()),
        ("time_s", pa.float64()),
        ("presence", pa.float64()),
        *((name, pa.float64()) for name in READINGS),
        ("landmarks68", pa.list_(pa.float64(), 136)),
        ("jpeg", pa.binary()),
    ]
)
_META = b"fabnet.scorecard"

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A clip that becomes the file `out`.

    Attributes:
        clip: its path and name.
        params: how its faces are found and cropped, and how many samples a second has.
        most: faces that are wanted of it.
    """

    clip: Input
    params: ExtractParams
    most: int
    out: Path


@dataclass(frozen=True)
class ClipTold:
    """What a part says of its clip.

    Attributes:
        samples: frames that were sampled.
        without_face: those in which the detector found no face.
        rejected: why the clip is of no use, empty where it is.
    """

    samples: int
    without_face: int
    rejected: str = ""


class _Kept(NamedTuple):
    """A face that is kept: the number of its track and what stands in its row."""

    track: int
    row: dict[str, object]


class Spaced(Generic[T]):
    """Of samples that come in any order: all, or at least `least` at equal distances; at each sample the largest item.

    Several faces of a sample do not come together, because a track is given out only when it is known to be one.
    """

    def __init__(self, least: int) -> None:
        self._most, self._every = 2 * least, 1
        self._items: dict[int, tuple[float, T]] = {}

    def offer(self, sample: int, size: float, make: Callable[[], T]) -> None:
        """Take note of an item, which is made only if it is kept for now.

        Args:
            sample: its number.
            size: that counts where there are several at a sample.
            make: gives the item.
        """
        known = self._items.get(sample)
        if sample % self._every or (known is not None and known[0] >= size):
            return
        self._items[sample] = size, make()
        while len(self._items) > self._most:
            self._every *= 2
            self._items = {at: item for at, item in self._items.items() if at % self._every == 0}

    def items(self) -> list[T]:
        """Those that are kept, by their samples."""
        return [self._items[sample][1] for sample in sorted(self._items)]


def read_clip(job: Job) -> None:
    """Write the part of a clip atomically. Few of its frames are in memory at a time, and at most 2 `most` crops."""
    cv2.setNumThreads(0)  # clips are read in parallel
    watched, kept = Watched(), Spaced[_Kept](job.most)
    seen: dict[int, set[int]] = {}
    lost: set[int] = set()
    rejected = ""
    try:
        faces: FaceTracks = find_faces(job.clip, job.params, watched)
        for number, face in faces:
            seen.setdefault(number, set()).add(face.number)
            kept.offer(face.number, face.box.right - face.box.left, partial(_kept, number, face, job.params))
        lost = set(faces.lost)
    except Rejected as reject:
        # A clip without a face is of use: it says how often none is found.
        rejected = "" if reject.reason == "no_face" else f"{reject.reason}: {reject.detail}"
    with_face = set[int]().union(*(samples for number, samples in seen.items() if number not in lost))
    samples = len(watched.times_T)
    told = ClipTold(samples, samples - len(with_face), rejected)
    rows = [] if rejected else [each.row for each in kept.items() if each.track not in lost]
    _write(job.out, rows, told)


def write_failure(job: Job, reason: str) -> None:
    """Write the part of a clip that cannot be read: no faces, and why.

    Args:
        job: whose clip it is.
        reason: in one line.
    """
    _write(job.out, [], ClipTold(0, 0, reason))


def told_of(part: Path) -> ClipTold:
    """What a part says of its clip."""
    return ClipTold(**json.loads(pq.read_metadata(part).metadata[_META]))


def read_part(part: Path, columns: list[str] | None = None) -> pa.Table:
    """The faces of a part, by increasing sample.

    Args:
        part: as read_clip writes it.
        columns: that are wanted; None takes all.
    """
    return pq.read_table(part, columns=columns)


def teacher_errors() -> dict[str, Any]:
    """How far FaceMesh is off on AFLW2000-3D, as studies/mesh.py measured it.

    Returns:
        `stills`, `unfound` (on which the detector finds no box over the face) and `bands`: {faces: {"n", errors, each
        with value, low and high}}.
    """
    told: dict[str, Any] = read_json(Path(__file__).with_name("teacher_errors.json"))
    return told


def _write(out: Path, rows: list[dict[str, object]], told: ClipTold) -> None:
    schema = _COLUMNS.with_metadata({_META: json.dumps(asdict(told))})
    with atomic_file(out) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def _kept(track: int, face: Face, params: ExtractParams) -> _Kept:
    return _Kept(track, face_row(face, params))


def face_row(face: Face, params: ExtractParams) -> dict[str, object]:
    """A face as it stands in a part: its crop as JPEG, and what the mesh reads of it, which is null beyond the frame.

    Args:
        face: in its frame.
        params: of the crop.
    """
    crop = crop_of(face, params)
    # As crop_of turns it.
    roll = (roll_in(face.image, face.box) or 0.0) if params.crop == "aligned" else 0.0
    height, width = face.image.shape[:2]
    box = face_in(face.box, params)
    row: dict[str, object] = {"sample": face.number, "time_s": face.time_s, "presence": 0.0, "jpeg": crop.jpeg}
    if not box.touches(width, height):  # what is left of it lies beyond the frame
        return row
    reading = read_face(face.image, box, roll)
    return row | {
        "presence": reading.presence,
        "roll_deg": (reading.roll_deg - roll + 180) % 360 - 180,
        "pitch_deg": reading.pitch_deg,
        "yaw_deg": reading.yaw_deg,
        "mouth_open": reading.mouth_open,
        "landmarks68": in_crop(reading, crop.box, roll, params.image_size).ravel().tolist(),
    }


def in_crop(reading: FaceReading, box: Box, roll_deg: float, size: int) -> NDArray[np.float64]:
    """The 68 points in pixels of the crop, (68, 2), the first pixel's centre at 0.5.

    Args:
        reading: of the frame.
        box: the square part of the frame that the crop shows.
        roll_deg: by which it is turned upright about its middle, positive clockwise in the frame.
        size: side of the crop.
    """
    side = box.right - box.left
    angle = math.radians(roll_deg)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    middle = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    points: NDArray[np.float64] = ((reading.landmarks68 - middle) @ turn.T / side + 0.5) * size
    return points
