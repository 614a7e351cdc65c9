"""vox-metadata.csv on the full videos: `extract.source: vox_metadata`. A row is a track with one box that stays."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fabnet.config import ExtractParams
from fabnet.errors import TableError, UserError
from fabnet.video.boxes import BoxTrack, Place, Reference
from fabnet.video.clips import Clip, named_track
from fabnet.video.faces import FindFaces, Frame
from fabnet.video.reject import Rejected
from fabnet.video.sources.annotated import annotated
from fabnet.video.sources.full_videos import full_clips, full_frames
from fabnet.video.sources.identities import Identities
from fabnet.video.sources.text_tables import table_rows

TABLE = "vox-metadata.csv"
LAYOUT = f"expected {TABLE} and videos/<YouTube id>.mp4 below it"
COLUMNS = ("video_id", "start", "end", "bbox", "fps", "width", "height", "partition", "person_id")

_WORD = re.compile(r"[\w-][\w.-]*", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_RATE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?", re.ASCII)
_BOX = re.compile(r"(-?[0-9]{1,6})-(-?[0-9]{1,6})-(-?[0-9]{1,6})-(-?[0-9]{1,6})", re.ASCII)


@dataclass(frozen=True)
class VoxMetadata:
    """See Source. A clip is a full video with all rows about it, which are its annotations: line and values."""

    params: ExtractParams

    def list_clips(self) -> Iterator[Clip]:
        root = self.params.videos
        table = root / TABLE
        if not table.is_file():
            raise UserError(f"{table}: no such table; {LAYOUT}")
        identities = Identities(root)
        annotations: dict[str, list[tuple[str, str]]] = {}
        for line, values in table_rows(table, COLUMNS):
            _check(values, f"{table}: line {line}")
            video, *numbers, person = values
            identity = identities.of(person)
            annotation = " ".join([str(line), *numbers[:6], identity])
            annotations.setdefault(video, []).append((identity, annotation))
        yield from full_clips(root, annotations, LAYOUT)

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip) -> Iterator[Frame]:
        yield from full_frames(clip, _tracks(clip), self.params)

    def find(self, clip: Clip) -> FindFaces:
        return annotated(lambda: _tracks(clip), self.params.margin)

    def inputs(self) -> Iterator[Path]:
        yield self.params.videos / TABLE
        yield from Identities(self.params.videos).inputs()


def _check(values: list[str], where: str) -> None:
    video, start, end, box, fps, width, height, _, person = values
    if not _WORD.fullmatch(video) or not _WORD.fullmatch(person):
        raise TableError(f"{where}: video_id {video!r} or person_id {person!r} is no name")
    for name, value, pattern in (
        ("start", start, _COUNT),
        ("end", end, _COUNT),
        ("fps", fps, _RATE),
        ("width", width, _COUNT),
        ("height", height, _COUNT),
    ):
        if not pattern.fullmatch(value) or (name not in ("start", "end") and float(value) == 0):
            raise TableError(f"{where}: {name} {value!r} is no number of {'frames' if pattern is _COUNT else 'fps'}")
    if int(end) < int(start):
        raise TableError(f"{where}: end {end} comes before start {start}")
    edges = _edges(box)
    if not edges:
        raise TableError(f"{where}: bbox {box!r} is not left-top-right-bottom in whole pixels of width x height")
    left, top, right, bottom = edges
    if right <= left or bottom <= top:
        raise TableError(f"{where}: bbox {box!r} has no area; it is left-top-right-bottom")


def _edges(box: str) -> list[int]:
    """Left, top, right, bottom; none where it is no box."""
    match = _BOX.fullmatch(box)
    return [int(edge) for edge in match.groups()] if match else []


def _tracks(clip: Clip) -> list[BoxTrack]:
    if not clip.annotations:
        raise Rejected("no_boxes", f"{TABLE} has no row for this video")
    parts: Counter[str] = Counter()
    tracks = []
    for annotation in clip.annotations:
        line, start, end, box, fps, width, height, identity = annotation.split(" ")
        part = f"{identity}/{start}-{end}"
        track = named_track(identity, clip.video, f"{start}-{end}", parts[part])
        parts[part] += 1
        edges = _edges(box)
        rows = np.array([[int(frame) / float(fps), *edges] for frame in (start, end)])
        reference = Reference(int(width), int(height))
        tracks.append(BoxTrack(track, rows, 0.5 / float(fps), reference, Place(TABLE, int(line))))
    return tracks
