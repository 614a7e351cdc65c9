"""The unit of work of `fabnet embed`: a video, or some images, become one part of the table.

A part holds all faces that were found. Which inputs and tracks turned out to be of no use is known only afterwards, and
is stored in its metadata; embed leaves their rows out when it joins the parts.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fabnet.config import ExtractParams
from fabnet.faces.found import FaceCrop, find_faces, network_crop
from fabnet.faces.inputs import Input
from fabnet.files import atomic_file
from fabnet.inference.formats.parquet import open_writer
from fabnet.model import Model
from fabnet.video.detectors import are_scored
from fabnet.video.reject import Rejected

logger = logging.getLogger(__name__)

_META = "fabnet.inputs"
_REPORT_EVERY_S = 10.0


@dataclass(frozen=True)
class Job:
    """Inputs whose faces become the file `out`."""

    inputs: tuple[Input, ...]
    model: Model
    params: ExtractParams
    recipe_hash: str
    batch_size: int
    out: Path

    @property
    def columns(self) -> pa.Schema:
        """Of its part."""
        return self.model.columns(are_scored(self.params))


@dataclass
class Outcome:
    """What became of an input.

    Attributes:
        faces: rows in the part, by the number of the track.
        rejected: why none of it is to be used, empty where it is.
        lost: why some of its tracks are not, by their numbers.
    """

    name: str
    faces: dict[int, int] = field(default_factory=dict)
    rejected: str = ""
    lost: dict[int, str] = field(default_factory=dict)

    def kept(self) -> dict[int, int]:
        """Faces that are to be used, by the number of the track."""
        return {} if self.rejected else {n: count for n, count in self.faces.items() if n not in self.lost}

    def why_empty(self) -> str:
        """Why nothing is kept."""
        return self.rejected or next(iter(self.lost.values()), "no_face: none was found")


def run_job(job: Job) -> None:
    """Write the part of a job atomically. Holds one batch and one row group at a time."""
    cv2.setNumThreads(0)
    # Jobs run in parallel; and the sums of a convolution may depend on how many threads share it.
    torch.set_num_threads(1)
    outcomes = [Outcome(each.name) for each in job.inputs]
    found = _found(job, outcomes)
    with atomic_file(job.out) as temporary, open_writer(temporary, job.columns) as file:
        while batch := list(islice(found, job.batch_size)):
            file.add(job.model.table(batch, job.recipe_hash))
        file.describe({_META: _dumped(outcomes)})


def write_failure(job: Job, reason: str) -> None:
    """Write the part of a job that cannot be run: no rows, and why."""
    with atomic_file(job.out) as temporary, open_writer(temporary, job.columns) as file:
        file.describe({_META: _dumped([Outcome(each.name, rejected=reason) for each in job.inputs])})


def outcomes_of(part: Path) -> list[Outcome]:
    """What a part says of its inputs."""
    listed = json.loads(pq.read_metadata(part).metadata[_META.encode()])
    return [Outcome(name, dict(faces), rejected, dict(lost)) for name, faces, rejected, lost in listed]


def _dumped(outcomes: list[Outcome]) -> str:
    # Pairs, because keys of JSON are text.
    return json.dumps([(each.name, [*each.faces.items()], each.rejected, [*each.lost.items()]) for each in outcomes])


def _found(job: Job, outcomes: list[Outcome]) -> Iterator[FaceCrop]:
    """The crops of all inputs; fills in the outcomes on the way."""
    for each, outcome in zip(job.inputs, outcomes, strict=True):
        reported = time.monotonic()
        try:
            faces = find_faces(each, job.params)
            outcome.faces = faces.counts
            for number, face in faces:
                if time.monotonic() - reported > _REPORT_EVERY_S:
                    reported = time.monotonic()
                    count = sum(faces.counts.values())
                    logger.info(f"{each.name}: at {face.time_s:.0f} s, {count} faces")
                image, box = network_crop(face, job.params)
                yield FaceCrop(each.name, number, face.number, face.time_s, box, image, face.score)
            outcome.lost = {number: _line(reject) for number, reject in faces.lost.items()}
        except Rejected as reject:
            outcome.rejected = _line(reject)


def _line(reject: Rejected) -> str:
    return f"{reject.reason}: {reject.detail}"
