"""Folders of clips, a video file each.

One's own, by `identity/**/clip.mp4` or by a table that says who each clip shows: `extract.source: cropped` (one face,
cropped already), `folder` (faces are detected and tracked) and `boxes` (a table has the boxes). And `voxceleb2`,
VoxCeleb2's own clips, which are cropped already.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from fabnet.config import ExtractParams
from fabnet.errors import TableError, UserError
from fabnet.video.boxes import BoxFile, BoxTrack, Reference, split_at_gaps
from fabnet.video.clips import SUFFIXES, Clip, Distinct, stem
from fabnet.video.detect_and_track import detect_and_track
from fabnet.video.faces import FindFaces, Frame, Tally
from fabnet.video.reject import Rejected
from fabnet.video.sources.finders import annotated, centred, decoded, span
from fabnet.video.sources.identities import Identities, is_id
from fabnet.video.sources.safe_walk import files, stays_below, sub_folders, walk
from fabnet.video.sources.text_tables import table_rows

LAYOUT = "expected <identity>/<video>/<clip>.mp4 or <identity>/<clip>.mp4 below it"
VOXCELEB2_LAYOUT = "expected dev/mp4/<id>/<video>/<clip>.mp4 and test/mp4/... below it"


def named_clips(params: ExtractParams, others: Counter[str] | None = None) -> Iterator[Clip]:
    """The clips below extract.videos, by name, or those of extract.clips, in its order.

    Args:
        params: the section `extract`.
        others: counts the files that are neither clips nor tables of these params, by suffix.

    Raises:
        UserError: the folder is missing, holds no clips, or holds a clip outside the folder of an identity; or a row of
            the table is wrong.
    """
    root = params.videos
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of videos (extract.videos); {LAYOUT}")
    identities = Identities(root)
    found = _of_table(root, params.clips) if params.clips is not None else _of_folders(root, others)
    empty = True
    for name, identity in found:
        empty = False
        between = PurePosixPath(name).parent.parts
        if between and params.clips is None:
            between = between[1:]
        yield Clip(root / name, name, identities.of(identity), "/".join(between) or stem(name))
    if others is not None and params.clips is None:
        for table in named_inputs(params):
            others[table.suffix.lower()] -= 1
        if params.boxes is not None:
            others[params.boxes.suffix.lower()] -= 1
    if empty:
        where = params.clips or root
        raise UserError(f"{where}: holds no clips ({', '.join(SUFFIXES)}); {LAYOUT}")


def named_inputs(params: ExtractParams) -> Iterator[Path]:
    yield from Identities(params.videos).inputs()
    if params.clips is not None:
        yield params.clips


def _of_folders(root: Path, others: Counter[str] | None) -> Iterator[tuple[str, str]]:
    for name in walk(root, SUFFIXES, others=others):
        identity, *below = name.split("/")
        if not below:
            raise UserError(f"{root}: {name} lies in no folder of an identity; {LAYOUT}")
        yield name, identity


def _of_table(root: Path, table: Path) -> Iterator[tuple[str, str]]:
    names = Distinct()
    for number, (name, identity) in table_rows(table, ("clip", "identity")):
        where = f"{table}: line {number}"
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or name != str(path):
            raise TableError(f"{where}: clip {name!r} is no path below {root}")
        if not identity or not identity.isprintable() or "/" in identity or identity in (".", ".."):
            raise TableError(f"{where}: {identity!r} is no identity; it names a person, without '/'")
        if not os.path.isfile(root / name):  # unlike Path's, false also for a name that no file can have
            raise TableError(f"{where}: there is no clip {name} below {root}")
        if not stays_below(root, root / name):
            raise TableError(f"{where}: clip {name} is, or lies behind, a link that leads out of {root}")
        names.add(name)
        yield name, unicodedata.normalize("NFC", identity)
    for one, other in names.candidates():
        (first, line), (second, again) = _row(table, one), _row(table, other)
        if first == second:
            raise TableError(f"{table}: line {again}: clip {first} comes twice, first in line {line}")


def _row(table: Path, number: int) -> tuple[str, int]:
    """Clip of a row, and its line."""
    line, (name, _) = next(islice(table_rows(table, ("clip", "identity")), number, None))
    return name, line


@dataclass(frozen=True)
class _NamedClips:
    """What the sources of one's own clips share. See Source."""

    params: ExtractParams

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        return named_clips(self.params, others)

    def prepare(self, state: Path) -> None:
        pass

    def inputs(self) -> Iterator[Path]:
        return named_inputs(self.params)


class Cropped(_NamedClips):
    """See Source."""

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        return decoded(clip, self.params, tally)

    def find(self, clip: Clip) -> FindFaces:
        return centred(clip)


class Folder(_NamedClips):
    """See Source."""

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        return decoded(clip, self.params, tally, every=self.params.detection.every)

    def find(self, clip: Clip) -> FindFaces:
        return detect_and_track(clip, self.params)

    def inputs(self) -> Iterator[Path]:
        yield from super().inputs()
        if self.params.detection.model is not None:
            yield self.params.detection.model


@dataclass(frozen=True)
class Boxes(_NamedClips):
    """See Source. `state` is the directory that `prepare` writes below."""

    state: Path

    def prepare(self, state: Path) -> None:
        table = self._table()
        if not (state / "boxes").is_dir():
            BoxFile.write(table, state / "boxes")
        boxes, clip = BoxFile(state / "boxes"), None
        for clip in self.list_clips():
            if clip.name in boxes:
                return
        name = clip.name if clip else "a.mp4"
        raise TableError(f"{table}: column clip: no row names a clip of {self.params.videos}, such as {name}")

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        tracks = self._tracks(clip)
        yield from decoded(clip, self.params, tally, span=span(tracks))

    def find(self, clip: Clip) -> FindFaces:
        return annotated(lambda: self._tracks(clip), self.params.margin)

    def inputs(self) -> Iterator[Path]:
        yield from super().inputs()
        yield self._table()

    def _table(self) -> Path:
        assert self.params.boxes is not None  # ExtractParams sees to it
        return self.params.boxes

    def _tracks(self, clip: Clip) -> list[BoxTrack]:
        rows = BoxFile(self.state / "boxes").rows(clip.name)
        if len(rows) == 0:
            raise Rejected("no_boxes", "the table of boxes has no row for this clip")
        # A face is taken to stay where it is for a sample longer than it was boxed.
        return split_at_gaps(rows, clip.track, self.params.tracking.max_gap_s, 1 / self.params.fps, Reference())


@dataclass(frozen=True)
class VoxCeleb2:
    """See Source."""

    params: ExtractParams

    def list_clips(self, others: Counter[str] | None = None) -> Iterator[Clip]:
        root = self.params.videos
        if not root.is_dir():
            raise UserError(f"{root}: no such folder of videos (extract.videos); {VOXCELEB2_LAYOUT}")
        empty = True
        for part in (part for part in ("dev", "test") if part in sub_folders(root)):
            if "mp4" not in sub_folders(root, part):
                raise UserError(f"{root / part}: holds no folder mp4; {VOXCELEB2_LAYOUT}")
            for identity in sub_folders(root, f"{part}/mp4"):
                if not is_id(identity):
                    where = root / part / "mp4" / identity
                    raise UserError(f"{where}: no identity such as id00012; {VOXCELEB2_LAYOUT}")
                for video in sub_folders(root, f"{part}/mp4/{identity}"):
                    below = f"{part}/mp4/{identity}/{video}"
                    for file in files(root, below, SUFFIXES):
                        empty = False
                        yield Clip(root / below / file, f"{below}/{file}", identity, video)
        if empty:
            raise UserError(f"{root}: holds no clips; {VOXCELEB2_LAYOUT}")

    def prepare(self, state: Path) -> None:
        pass

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        return decoded(clip, self.params, tally)

    def find(self, clip: Clip) -> FindFaces:
        return centred(clip)

    def inputs(self) -> Iterator[Path]:
        return iter(())
