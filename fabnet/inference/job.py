"""The unit of work of `fabnet embed`: a video, or some images, become one part of the table.

A part holds all faces that were found. Which inputs and tracks turned out to be of no use is known only afterwards, and
is told in its metadata; whoever joins parts leaves their rows out.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
import torch
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.files import atomic_file
from fabnet.inference import readings, table
from fabnet.inference.inputs import Input
from fabnet.inference.looking import look
from fabnet.inference.model import Model, encoder
from fabnet.networks.embed import embed_images
from fabnet.probing.saved import read_heads
from fabnet.video.crop import Box
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.unit import crop_of

_META = "fabnet.inputs"
_REPORT_EVERY_S = 10.0


@dataclass(frozen=True)
class Job:
    """Inputs whose faces become the file `out`."""

    inputs: tuple[Input, ...]
    model: Model
    params: ExtractParams
    recipe_hash: str
    heads: Path | None
    batch_size: int
    device: str
    out: Path


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


@dataclass(frozen=True)
class _Found:
    """A crop and the columns it will have."""

    image: NDArray[np.uint8]
    row: dict[str, Any]


def run_job(job: Job) -> None:
    """Write the part of a job, whole or not at all. Holds one batch and one row group at a time."""
    cv2.setNumThreads(0)
    # Jobs run in parallel; and the sums of a convolution may depend on how many threads share it.
    torch.set_num_threads(1)
    heads = None if job.heads is None else read_heads(job.heads)
    columns = table.schema(job.model.dimension, readings.fields(heads) if heads else [])
    outcomes = [Outcome(each.name) for each in job.inputs]
    found = _found(job, outcomes)
    network = encoder(job.model.directory, job.model.weights_sha256)
    with atomic_file(job.out) as temporary, table.open_writer(temporary, columns) as file:
        while batch := list(islice(found, job.batch_size)):
            (embeddings,) = embed_images(network, [np.stack([each.image for each in batch])], job.device)
            if not np.isfinite(embeddings).all():
                raise ValueError(f"{batch[0].row['input']}: an embedding is not finite")
            arrays = [pa.array([each.row[name] for each in batch], columns.field(name).type) for name in _PLAIN]
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), job.model.dimension))
            arrays.append(pa.array([job.recipe_hash] * len(batch), pa.string()))
            if heads:
                regions = np.array([[each.row[edge] for edge in _EDGES] for each in batch])
                arrays += readings.read(heads, embeddings, regions)
            file.add(pa.Table.from_arrays(arrays, schema=columns))
        file.describe({_META: _told(outcomes)})


def write_failure(job: Job, reason: str) -> None:
    """Write the part of a job that cannot be run: no rows, and why."""
    columns = table.schema(job.model.dimension, readings.fields(read_heads(job.heads)) if job.heads else [])
    with atomic_file(job.out) as temporary, table.open_writer(temporary, columns) as file:
        file.describe({_META: _told([Outcome(each.name, rejected=reason) for each in job.inputs])})


def outcomes_of(part: Path) -> list[Outcome]:
    """What a part says of its inputs."""
    listed = json.loads(pq.read_metadata(part).metadata[_META.encode()])
    return [Outcome(name, dict(faces), rejected, dict(lost)) for name, faces, rejected, lost in listed]


def _told(outcomes: list[Outcome]) -> str:
    # Pairs, because keys of JSON are text.
    return json.dumps([(each.name, [*each.faces.items()], each.rejected, [*each.lost.items()]) for each in outcomes])


_EDGES = ("left", "top", "right", "bottom")
_PLAIN = ("input", "track", "frame", "time_s", *_EDGES)


def _found(job: Job, outcomes: list[Outcome]) -> Iterator[_Found]:
    """The crops of all inputs; fills in the outcomes on the way."""
    for each, outcome in zip(job.inputs, outcomes, strict=True):
        numbers: dict[str, int] = {}
        reported = time.monotonic()
        try:
            for event in look(each, job.params):
                number = numbers.setdefault(event.track.id, len(numbers))
                if isinstance(event, TrackEnd):
                    if event.rejected is not None:
                        outcome.lost[number] = _words(event.rejected)
                    continue
                outcome.faces[number] = outcome.faces.get(number, 0) + 1
                if time.monotonic() - reported > _REPORT_EVERY_S:
                    reported = time.monotonic()
                    print(
                        f"{each.name}: at {event.time_s:.0f} s, {sum(outcome.faces.values())} faces",
                        file=sys.stderr,
                        flush=True,
                    )
                image, box = seen(event, job.params)
                yield _Found(image, _row(each, number, event, box))
        except Rejected as reject:
            outcome.rejected = _words(reject)


def seen(face: Face, params: ExtractParams) -> tuple[NDArray[np.uint8], Box]:
    """The crop as training reads it, written as JPEG and decoded again, and the part of the frame that it shows."""
    found = crop_of(face, params)
    return simplejpeg.decode_jpeg(found.jpeg, "RGB"), found.box


def _row(each: Input, number: int, face: Face, box: Box) -> dict[str, Any]:
    edges = {edge: float(getattr(box, edge)) for edge in _EDGES}
    return {"input": each.name, "track": number, "frame": face.number, "time_s": face.time_s, **edges}


def _words(reject: Rejected) -> str:
    return f"{reject.reason}: {reject.detail}"
