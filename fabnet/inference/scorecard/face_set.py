"""Videos become one labelled set: of each person a bounded number of faces, with what the teacher reads of them.

The folder is a labelled set of the kind `synthetic` (labels.parquet beside faces.tar), so that everything that embeds
and probes such sets takes it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fabnet import tables
from fabnet.attributes.synthetic import SyntheticFaces
from fabnet.config import ExtractParams, SetParams
from fabnet.errors import UserError, counted
from fabnet.faces.inputs import BadInput, Input, listed
from fabnet.files import atomic_directory, hash_json, read_json, write_json
from fabnet.frames.shards import TarWriter
from fabnet.frames.split import split_identities
from fabnet.inference.scorecard.teacher import READINGS, Job, read_clip, read_part, told_of, write_failure
from fabnet.progress import Progress
from fabnet.video.clips import SUFFIXES
from fabnet.video.engines import open_engine
from fabnet.video.mesh import MIN_PRESENCE
from fabnet.video.recipe import recipe
from fabnet.video.sources.clip_folders import named_clips
from fabnet.video.sources.safe_walk import walk

By = Literal["folder", "file"]

#: Fewest people: one to learn from, one to choose the penalty on and one to score.
FEWEST = 3

#: Raise it when a change of the code changes what is in a part or in the set.
_VERSION = 1
#: What is known of the faces, beside them.
TOLD = "faces.json"
_SPLIT = {"train": 60, "validation": 15, "test": 25}
# Params that do not decide what is read.
_ELSEWHERE = {"videos", "workers", "engine"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Person:
    """What became of the videos of one person.

    Attributes:
        videos: how many.
        samples: frames that were sampled.
        without_face: of these, frames in which the detector found no face.
        looked_at: faces that the teacher looked at, evenly spaced over those found, and bounded.
        unsure: of these, faces whose presence it puts below the threshold: they are left out.
    """

    name: str
    videos: int
    samples: int
    without_face: int
    looked_at: int
    unsure: int

    @property
    def used(self) -> int:
        """Faces that are labelled."""
        return self.looked_at - self.unsure


@dataclass(frozen=True)
class FaceSet:
    """The labelled set of a scorecard.

    Attributes:
        folder: of labels.parquet and faces.tar.
        size: side of the crops in pixels.
        recipe_hash: of the crops.
        fps: sampled frames per second.
        most: bound on the faces of a person.
        people: in the order of their names.
        rejected: videos that could not be used.
    """

    folder: Path
    size: int
    recipe_hash: str
    fps: float
    most: int
    people: tuple[Person, ...]
    rejected: tuple[BadInput, ...]

    @property
    def labelled(self) -> SyntheticFaces:
        """The set behind the protocol of labelled sets."""
        return SyntheticFaces("scorecard", SetParams.model_validate({"kind": "synthetic", "path": self.folder}))

    @property
    def scored(self) -> list[Person]:
        """The people with enough faces to be scored."""
        return [person for person in self.people if person.used >= _FACES]

    def counts(self) -> dict[str, int]:
        """Numbers of people, of those who are scored, and the sums of what is told of each."""
        columns = [{**asdict(person), "used": person.used} for person in self.people]
        sums = {key: sum(each[key] for each in columns) for key in columns[0] if key != "name"}
        faces = sum(person.used for person in self.scored)
        return {"people": len(self.people), "people_scored": len(self.scored), **sums, "faces_scored": faces}

    def require_people(self) -> None:
        """Raises UserError if too few people are left to learn from some and to score others."""
        whole = self.counts()
        if not whole["used"]:
            reasons = f"; {listed(self.rejected)}" if self.rejected else ""
            raise UserError(
                f"{self.folder.parent}: the teacher finds no face: of {whole['samples']} sampled frames of "
                f"{counted(whole['videos'], 'video')}, {whole['without_face']} show none that the detector finds, and "
                f"of {whole['looked_at']} found ones {whole['unsure']} have a presence below {MIN_PRESENCE:g}{reasons}"
            )
        if len(self.scored) < FEWEST:
            names = [person.name for person in self.scored]
            raise few_people(names, f"with at least {_FACES} faces ({whole['used']} in all)")


#: Fewest faces of a person who is scored.
_FACES = 2


def few_people(names: Sequence[str], what: str) -> UserError:
    """The error where a split by person is impossible.

    Args:
        names: of the people.
        what: said of them.
    """
    who = f" ({', '.join(names)})" if names else ""
    return UserError(
        f"videos of {counted(len(names), 'person', 'people')}{who} {what}: a scorecard learns from some people and "
        f"scores others, so it needs at least {FEWEST}; put each person's videos into a folder of their own, or say "
        "--by file where each file shows another person"
    )


def find_clips(videos: Path, by: By) -> list[tuple[Input, str]]:
    """The videos below a folder, by name, and who each shows.

    Args:
        videos: the folder.
        by: `folder`: a person is a folder directly below it; `file`: each file shows a person of its own.

    Raises:
        UserError: no such folder, no videos, a video in no person's folder, or too few people.
    """
    if not videos.is_dir():
        raise UserError(f"{videos}: {'is no folder' if videos.exists() else 'no such folder'}; name one of videos")
    if by == "folder":
        named = [
            (clip.name, clip.identity) for clip in named_clips(ExtractParams.standalone(videos=videos, source="folder"))
        ]
    else:
        named = [(name, name) for name in walk(videos, SUFFIXES)]
        if not named:
            raise UserError(f"{videos}: holds no videos ({', '.join(SUFFIXES)})")
    if len({identity for _, identity in named}) < FEWEST:
        raise few_people(sorted({identity for _, identity in named}), f"in {videos}")
    found = []
    for name, identity in named:
        status = (videos / name).stat()
        found.append((Input(videos / name, name, "video", status.st_size, status.st_mtime_ns), identity))
    return found


def read_faces(clips: Sequence[tuple[Input, str]], params: ExtractParams, most: int, seed: int, out: Path) -> FaceSet:
    """The labelled set of some clips; if `out` holds it already, it is only opened.

    What was read of a clip waits in a folder beside `out` until all are, so that an interrupted run goes on with the
    others.

    Args:
        clips: and who each shows.
        params: how faces are found and cropped, and how many processes work.
        most: faces of a person.
        seed: of the split that the principal components are fitted on.
        out: folder of the set.
    """
    content = {
        "version": _VERSION,
        "clips": [(clip.name, clip.size, clip.mtime_ns, identity) for clip, identity in clips],
        **_read_by(params, most),
        "seed": seed,
    }
    key = hash_json(content)
    told = read_json(out / TOLD) if (out / TOLD).is_file() else {}
    if told.get("key") != key:
        parts = out.with_name(f"{out.name}.parts")
        done = _read(clips, params, most, parts)
        told = {"key": key, **_join(done, params, most, seed, out, key)}
        for leftover in parts.glob("*.parquet"):
            leftover.unlink()
        if not any(parts.iterdir()):
            parts.rmdir()
    people = tuple(Person(**each) for each in told["people"])
    rejected = tuple(BadInput(*each) for each in told["rejected"])
    return FaceSet(out, params.image_size, recipe(params)["hash"], params.fps, most, people, rejected)


def _read_by(params: ExtractParams, most: int) -> dict[str, Any]:
    return {"params": params.model_dump(mode="json", exclude=_ELSEWHERE), "most": most, "recipe": recipe(params)}


def _read(clips: Sequence[tuple[Input, str]], params: ExtractParams, most: int, parts: Path) -> list[tuple[Job, str]]:
    """Make the parts that are missing; all jobs, and who each shows."""
    jobs = []
    for clip, identity in clips:
        content = {"version": _VERSION, "clip": (clip.name, clip.size, clip.mtime_ns), **_read_by(params, most)}
        jobs.append((Job(clip, params, most, parts / f"{hash_json(content)}.parquet"), identity))
    missing = [job for job, _ in jobs if not job.out.is_file()]
    engine = open_engine(params.engine)
    with Progress("teacher", len(jobs), "videos", done=len(jobs) - len(missing)) as progress:
        for number, died in engine(read_clip, missing, params.workers):
            if died:
                write_failure(missing[number], "crashed: its process died, each time it was begun")
            progress.advance()
    return jobs


def _join(
    jobs: Sequence[tuple[Job, str]], params: ExtractParams, most: int, seed: int, out: Path, key: str
) -> Mapping[str, Any]:
    """Write the labelled set, one part in memory at a time, and what is told of it."""
    by_person: dict[str, list[Job]] = {}
    for job, identity in jobs:
        by_person.setdefault(identity, []).append(job)
    splits = split_identities(by_person, _SPLIT, seed)
    people: list[Person] = []
    rejected: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    with atomic_directory(out) as folder:
        with open(folder / "faces.tar", "wb") as file:
            tar = TarWriter(file)
            for name, mine in sorted(by_person.items()):
                person, bad, faces = _person(name, mine, most)
                people.append(person)
                rejected += bad
                if person.used < _FACES:
                    continue
                for clip, face in faces:
                    image = f"{len(rows):07d}.jpg"
                    tar.add(image, face.pop("jpeg"))
                    rows.append(
                        {"face_id": f"{clip}#{face.pop('sample')}", "identity": name, "split": splits[name]}
                        | {"image": image, "left": 0.0, "top": 0.0}
                        | {"right": float(params.image_size), "bottom": float(params.image_size), **face}
                    )
            tar.close()
        frame = pd.DataFrame(rows) if rows else tables.Labels.empty_frame()
        tables.write(frame, folder / "labels.parquet", tables.Labels)
        told = {"people": [asdict(person) for person in people], "rejected": rejected}
        write_json(folder / TOLD, {"key": key, **told})
    return told


def _person(
    name: str, jobs: Sequence[Job], most: int
) -> tuple[Person, list[tuple[str, str]], Iterator[tuple[str, dict[str, Any]]]]:
    """What became of a person's clips, those that were rejected, and the faces that are used, each with its clip."""
    told = [told_of(job.out) for job in jobs]
    bad = [(job.clip.name, each.rejected) for job, each in zip(jobs, told, strict=True) if each.rejected]
    presence = [read_part(job.out, ["presence"])["presence"].to_numpy() for job in jobs]
    starts = np.cumsum([0, *map(len, presence)])
    found = int(starts[-1])
    chosen = np.unique(np.linspace(0, found - 1, min(most, found)).round().astype(int)) if found else np.empty(0, int)
    sure = chosen[np.concatenate(presence)[chosen] >= MIN_PRESENCE] if found else chosen
    samples, without = sum(each.samples for each in told), sum(each.without_face for each in told)
    person = Person(name, len(jobs), samples, without, len(chosen), len(chosen) - len(sure))

    def faces() -> Iterator[tuple[str, dict[str, Any]]]:
        for job, start, end in zip(jobs, starts[:-1], starts[1:], strict=True):
            mine = sure[(sure >= start) & (sure < end)] - start
            if len(mine):
                wanted = ["sample", *READINGS, "landmarks68", "jpeg"]
                for face in pq.read_table(job.out, columns=wanted).take(mine).to_pylist():
                    yield job.clip.name, face | {"landmarks68": np.array(face["landmarks68"])}

    return person, bad, faces()
