"""The full videos that annotations are about, `videos/<YouTube id>.mp4` below the folder of clips.

`extract.source: voxceleb1` and `voxceleb2_txt` read VoxCeleb's face-track files; `vox_metadata` reads vox-metadata.csv,
a row of which is a track with one box that stays.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fabnet.config import ExtractParams
from fabnet.errors import TableError, UserError
from fabnet.progress import Progress
from fabnet.video.boxes import BoxTrack, Place, Reference, split_at_gaps
from fabnet.video.clips import SUFFIXES, Clip, named_track, stem
from fabnet.video.faces import FindFaces, Frame, Tally
from fabnet.video.reject import Rejected
from fabnet.video.sources.face_track_file import FIRST_ROW, FPS, FaceTrackFile, Unit, read_face_track
from fabnet.video.sources.finders import annotated, decoded, span
from fabnet.video.sources.identities import Identities, is_id
from fabnet.video.sources.safe_walk import files, sub_folders
from fabnet.video.sources.text_tables import table_rows

FOLDER = "videos"
TRACKS_LAYOUT = "expected txt/<id>/<YouTube id>/<track>.txt and videos/<YouTube id>.mp4 below it"
TABLE = "vox-metadata.csv"
METADATA_LAYOUT = f"expected {TABLE} and videos/<YouTube id>.mp4 below it"
COLUMNS = ("video_id", "start", "end", "bbox", "fps", "width", "height", "partition", "person_id")
_WORD = re.compile(r"[\w-][\w.-]*", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_RATE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9})?", re.ASCII)
_BOX = re.compile(r"(-?[0-9]{1,6})-(-?[0-9]{1,6})-(-?[0-9]{1,6})-(-?[0-9]{1,6})", re.ASCII)


def full_clips(root: Path, annotations: dict[str, list[tuple[str, str]]], layout: str) -> Iterator[Clip]:
    """One clip per video that is there or annotated, by the video's id.

    Args:
        root: folder of the clips.
        annotations: (identity, annotation of it for the source) of each video's tracks.
        layout: what was expected, for the message of an error.

    Raises:
        UserError: not one annotated video is there, or a video is there twice.
    """
    if not annotations:
        raise UserError(f"{root}: holds no annotations; {layout}")
    names: dict[str, str] = {}
    for file in files(root, FOLDER, SUFFIXES) if FOLDER in sub_folders(root) else []:
        other = names.setdefault(stem(file), file)
        if other != file:
            raise UserError(f"{root / FOLDER}: {other} and {file} are the same video; remove one")
    if not names.keys() & annotations.keys():
        raise UserError(
            f"{root / FOLDER}: holds none of the {len(annotations)} annotated videos, such as {min(annotations)}.mp4; "
            f"{layout}"
        )
    for video in sorted(names.keys() | annotations.keys()):
        name = f"{FOLDER}/{names.get(video, video)}"
        tracks = annotations.get(video, [])
        identity = tracks[0][0] if tracks else ""
        yield Clip(root / name, name, identity, video, tuple(annotation for _, annotation in tracks))


def full_frames(clip: Clip, tracks: list[BoxTrack], params: ExtractParams, tally: Tally | None) -> Iterator[Frame]:
    """The frames of a full video from its earliest box to its latest.

    Args:
        clip: the video.
        tracks: its boxes.
        params: of the extraction.
        tally: see fabnet.video.decode.frames.
    """
    if not clip.path.is_file():
        raise Rejected("unreadable", f"no video for its annotations; expected {clip.name}.mp4")
    yield from decoded(clip, params, tally, span=span(tracks))


@dataclass(frozen=True)
class FaceTracks:
    """See Source. A clip is a full video with all tracks in it, of one or several people; its annotations are the
    folders of their files."""

    params: ExtractParams
    unit: Unit

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        annotations: dict[str, list[tuple[str, str]]] = {}
        for identity, video in self._folders():
            annotations.setdefault(video, []).append((identity, f"txt/{identity}/{video}"))
        yield from full_clips(self.params.videos, annotations, TRACKS_LAYOUT)

    def prepare(self, state: Path) -> None:
        checked = state / "annotations-checked"
        if checked.exists():
            return
        folders = sum(1 for _ in self._folders())
        with Progress("annotations", folders, "video") as progress:
            for identity, video in self._folders():
                for _ in self._files(f"txt/{identity}/{video}"):
                    pass
                progress.advance()
        state.mkdir(parents=True, exist_ok=True)
        checked.touch()

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        yield from full_frames(clip, self._tracks(clip), self.params, tally)

    def find(self, clip: Clip) -> FindFaces:
        return annotated(lambda: self._tracks(clip), self.params.margin)

    def inputs(self) -> Iterator[Path]:
        root = self.params.videos
        for identity, video in self._folders():
            for file in files(root, f"txt/{identity}/{video}", (".txt",)):
                yield root / "txt" / identity / video / file

    def _folders(self) -> Iterator[tuple[str, str]]:
        """(identity, video) of the folders of face-track files."""
        root = self.params.videos
        if not root.is_dir() or "txt" not in sub_folders(root):
            raise UserError(f"{root}: holds no folder txt; {TRACKS_LAYOUT}")
        for identity in sub_folders(root, "txt"):
            if not is_id(identity):
                raise UserError(f"{root / 'txt' / identity}: no identity such as id10001; {TRACKS_LAYOUT}")
            for video in sub_folders(root, f"txt/{identity}"):
                yield identity, video

    def _files(self, folder: str) -> Iterator[tuple[str, FaceTrackFile]]:
        """(path below the folder of clips, content) of the files in `folder`."""
        root = self.params.videos
        _, identity, video = folder.split("/")
        for name in files(root, folder, (".txt",)):
            content = read_face_track(root / folder / name, self.unit)
            for line, found, expected in ((1, content.identity, identity), (2, content.video, video)):
                if found != expected:
                    raise TableError(
                        f"{root / folder / name}: line {line}: {found}, but it lies in the folder of {expected}"
                    )
            yield f"{folder}/{name}", content

    def _tracks(self, clip: Clip) -> list[BoxTrack]:
        fractions = self.unit == "fractions"
        reference = Reference(1, 1) if fractions else Reference(height=self.params.reference_height)
        tracks = [
            track
            for folder in clip.annotations
            for name, content in self._files(folder)
            for track in split_at_gaps(
                content.rows,
                partial(named_track, content.identity, content.video, Path(name).stem),
                self.params.tracking.max_gap_s,
                0.5 / FPS,
                reference,
                Place(name, FIRST_ROW),
            )
        ]
        if not tracks:
            raise Rejected("no_boxes", "there are no face-track files for this video")
        return tracks


@dataclass(frozen=True)
class VoxMetadata:
    """See Source. A clip is a full video with all rows about it, which are its annotations: line and values."""

    params: ExtractParams

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        root = self.params.videos
        table = root / TABLE
        if not table.is_file():
            raise UserError(f"{table}: no such table; {METADATA_LAYOUT}")
        identities = Identities(root)
        annotations: dict[str, list[tuple[str, str]]] = {}
        for line, values in table_rows(table, COLUMNS):
            _check_row(values, f"{table}: line {line}")
            video, *numbers, person = values
            identity = identities.of(person)
            annotation = " ".join([str(line), *numbers[:6], identity])
            annotations.setdefault(video, []).append((identity, annotation))
        yield from full_clips(root, annotations, METADATA_LAYOUT)

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        yield from full_frames(clip, _row_tracks(clip), self.params, tally)

    def find(self, clip: Clip) -> FindFaces:
        return annotated(lambda: _row_tracks(clip), self.params.margin)

    def inputs(self) -> Iterator[Path]:
        yield self.params.videos / TABLE
        yield from Identities(self.params.videos).inputs()


def _check_row(values: list[str], where: str) -> None:
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


def _row_tracks(clip: Clip) -> list[BoxTrack]:
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
