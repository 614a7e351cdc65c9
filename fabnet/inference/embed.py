"""Videos and images become a table of embeddings: jobs, their parts, and the file they are joined to.

A job is a video, or some images, and becomes one part of the table, which holds all faces that were found. Which inputs
and tracks turned out to be of no use is known only afterwards, and is stored in the metadata of the part; their rows
are left out when the parts are joined.

Parts lie in FILE.parts until the file is whole. A part is named by everything that decides its content, so that a run
that was interrupted resumes with the missing parts, and one with other options, or after an input has changed, does not
reuse parts that no longer fit.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from fabnet.config import ExtractParams
from fabnet.errors import UserError, counted
from fabnet.faces.found import FaceCrop, find_faces, network_crop
from fabnet.faces.inputs import BadInput, Input, find_inputs, listed, no_face
from fabnet.files import atomic_file, hash_json, locked
from fabnet.inference.formats.open import Format, check_columns, check_one_input, open_rows
from fabnet.inference.formats.table import open_plain_parquet, row_groups
from fabnet.model import Model
from fabnet.progress import Progress
from fabnet.video.detectors import are_scored
from fabnet.video.engines import open_engine
from fabnet.video.recipe import recipe
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
    with atomic_file(job.out) as temporary, open_plain_parquet(temporary, job.columns) as file:
        while batch := list(islice(found, job.batch_size)):
            file.add(job.model.table(batch, job.recipe_hash))
        file.describe({_META: _dumped(outcomes)})


def write_failure(job: Job, reason: str) -> None:
    """Write the part of a job that cannot be run: no rows, and why.

    Args:
        job: whose inputs are all told as rejects.
        reason: in one line.
    """
    with atomic_file(job.out) as temporary, open_plain_parquet(temporary, job.columns) as file:
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
                    logger.info(f"{each.name}: at {face.time_s:.0f} s, {counted(count, 'face')}")
                image, box = network_crop(face, job.params)
                yield FaceCrop(each.name, number, face.number, face.time_s, box, image, face.score)
            outcome.lost = {number: _line(reject) for number, reject in faces.lost.items()}
        except Rejected as reject:
            outcome.rejected = _line(reject)


def _line(reject: Rejected) -> str:
    return f"{reject.reason}: {reject.detail}"


#: Raise it when a change of the code changes what is in a part.
_VERSION = 2

#: Images of a job: enough to fill batches, few enough to lose little when a run is interrupted.
_IMAGES = 256

#: Params that do not decide what is in a part.
_ELSEWHERE = {"videos", "workers", "engine"}


@dataclass(frozen=True)
class EmbedSummary:
    """Faces, tracks and inputs in the file, and the inputs that gave no rows."""

    faces: int
    tracks: int
    inputs: int
    bad: list[BadInput]


def embed(
    arguments: Sequence[str | Path],
    model: Model,
    out: Path,
    params: ExtractParams,
    batch_size: int = 64,
    strict: bool = False,
    format: Format = "parquet",
) -> EmbedSummary:
    """Write the embeddings of all faces in the inputs, and what probes read from them, to `out`, atomically.

    Args:
        arguments: files and folders.
        model: its probes, if it has any, add columns.
        out: the file.
        params: how faces are found and cropped, and how many processes work.
        batch_size: faces that go through the network at once.
        strict: give up, without `out`, if any input gives no rows. What was done is kept for the next run.
        format: of the file. Parts do not depend on it.

    Raises:
        UserError: nothing gives rows, or, if `strict`, something does not; or the format asks for probes or a single
            input.
    """
    if out.is_dir():
        raise UserError(f"{out}: is a folder; --out names the file to write")
    check_columns(model.columns(), format, model.path, "give them by --heads")
    inputs, bad = find_inputs(arguments)
    check_one_input(len(inputs), format)
    if strict and bad:
        raise UserError(f"--strict: {listed(bad)}")
    if not inputs:
        raise UserError(f"nothing to embed: {listed(bad)}")
    parts = out.with_name(f"{out.name}.parts")
    with locked(parts / "lock", f"{parts}: another process is writing {out}; wait for it or stop it"):
        job = Job((), model, params, recipe(params)["hash"], batch_size, parts / "part")
        jobs = _run([_named(job, group) for group in _groups(inputs)])
        faces = tracks = with_rows = 0
        for outcome in (outcome for done in jobs for outcome in outcomes_of(done.out)):
            kept = outcome.kept()
            faces, tracks, with_rows = faces + sum(kept.values()), tracks + len(kept), with_rows + bool(kept)
            if not kept:
                bad.append(BadInput(outcome.name, outcome.why_empty()))
        if strict and bad:
            raise UserError(f"--strict: {listed(bad)}")
        if faces:
            _join(jobs, out, _columns(model, params), format)
        # Parts of interrupted runs with other options go too; files that are not ours stay, and with them the folder.
        for leftover in (*parts.glob("part-*.parquet"), *parts.glob(".part-*.parquet"), parts / "lock"):
            leftover.unlink()
    if not any(parts.iterdir()):
        parts.rmdir()
    if not faces:
        raise no_face(bad)
    return EmbedSummary(faces, tracks, with_rows, bad)


def _groups(inputs: Sequence[Input]) -> Iterator[tuple[Input, ...]]:
    """Inputs of one job: a video, or images that follow each other."""
    images: list[Input] = []
    for each in inputs:
        if images and (each.kind == "video" or len(images) == _IMAGES):
            yield tuple(images)
            images = []
        if each.kind == "video":
            yield (each,)
        else:
            images.append(each)
    if images:
        yield tuple(images)


def _named(job: Job, inputs: tuple[Input, ...]) -> Job:
    """The same for these inputs, its part beside that of `job` and named by all that decides what is in it."""
    content = {
        "version": _VERSION,
        "inputs": [(each.name, each.size, each.mtime_ns) for each in inputs],
        "weights": job.model.weights_sha256,
        "params": job.params.model_dump(mode="json", exclude=_ELSEWHERE),
        "recipe": job.recipe_hash,
        "heads": job.model.probes_sha256,
        "batch_size": job.batch_size,
        "device": job.model.device,
    }
    return replace(job, inputs=inputs, out=job.out.with_name(f"part-{hash_json(content)}.parquet"))


def _run(jobs: list[Job]) -> list[Job]:
    """Make the parts that are missing, and return the jobs behind all parts, in the order of the inputs.

    A job that kills its process becomes a part without rows. If it has several inputs, each is tried alone first.
    """
    params = jobs[0].params
    engine = open_engine(params.engine)
    total = sum(len(job.inputs) for job in jobs)
    missing = [job for job in jobs if not job.out.exists()]
    died = set()
    with Progress("embed", total, "inputs", done=total - sum(len(job.inputs) for job in missing)) as progress:
        for number, failed in engine(run_job, missing, params.workers):
            job = missing[number]
            if not failed:
                progress.advance(len(job.inputs))
            elif len(job.inputs) == 1:
                write_failure(job, "crashed: its process died, each time it was begun")
                progress.advance(1)
            else:
                # Which of several images was the cause nobody knows: each of them is a job of its own then.
                died.add(job.out)
    done = []
    for job in jobs:
        alone = [_named(job, (each,)) for each in job.inputs] if job.out in died else None
        done += [job] if alone is None else _run(alone)
    return done


def _columns(model: Model, params: ExtractParams) -> pa.Schema:
    """The schema of the file, with what is to be known of all its rows."""
    about = {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "recipe": json.dumps(recipe(params), sort_keys=True),
        "model_recipe": json.dumps(model.recipe, sort_keys=True),
        "fps": f"{params.fps:g}",
    }
    if model.probes is not None:
        about["heads"] = json.dumps(model.probes.meta, sort_keys=True)
    return model.columns(are_scored(params)).with_metadata(about)


def _join(jobs: Sequence[Job], out: Path, columns: pa.Schema, format: Format) -> None:
    with open_rows(out, columns, format) as file:
        for job in jobs:
            outcomes = [outcome for outcome in outcomes_of(job.out) if outcome.rejected or outcome.lost]
            with pq.ParquetFile(job.out) as part:
                for rows in row_groups(part):
                    for outcome in outcomes:
                        rows = rows.filter(pc.invert(_dropped(rows, outcome)))
                    if len(rows):
                        file.add(rows.replace_schema_metadata(columns.metadata))


def _dropped(rows: pa.Table, outcome: Outcome) -> pa.ChunkedArray:
    """Which rows belong to an input, or to those of its tracks, that turned out to be of no use."""
    mine = pc.equal(rows["input"], outcome.name)
    if outcome.rejected:
        return mine
    return pc.and_(mine, pc.is_in(rows["track"], pa.array(list(outcome.lost), pa.int32())))
