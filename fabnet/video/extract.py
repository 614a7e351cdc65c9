"""Videos become track shards, an index and rejects: clips in groups, in parallel, restartable."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import pandas as pd
import pyarrow.parquet as pq
import simplejpeg

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.files import atomic_directory, hash_json, locked, write_json
from fabnet.frames import shards
from fabnet.frames.shards import INDEX, RECIPE, merge
from fabnet.progress import Progress
from fabnet.video.boxes import BoxFile
from fabnet.video.clips import Clip, find_clips
from fabnet.video.pool import JobKilled, run_jobs
from fabnet.video.recipe import recipe
from fabnet.video.unit import REJECTS, Unit, run_unit

CLIPS_PER_UNIT = 16

# What becomes of finished units, and who makes them, changes nothing in them.
_NOT_IN_UNITS = {"workers", "shard_mb"}


def extract(params: ExtractParams, out: Path, work: Path) -> None:
    """Extract the crops of all clips of `params.videos` into the directory `out`, which is replaced as a whole.

    Finished groups of clips are kept in `work` until the end, and a run with the same params, clips and code takes
    them up again. The result does not depend on `params.workers`.

    Raises:
        UserError: no clips, an illegal table of boxes, every clip rejected, a clip that kills its process, or another
            extraction at work in `work`.
    """
    clips = find_clips(params.videos)
    # An orphan of a killed pipeline may still be writing there.
    with locked(work / ".lock", f"{work}: another extraction is at work; wait for it or end it"):
        state = work / _state_hash(params, clips)
        units = _units(params, clips, state)
        missing = [unit for unit in units if not unit.out.is_dir()]
        done = len(clips) - sum(len(unit.clips) for unit in missing)
        with Progress("extract", len(clips), "clip", done=done) as progress:
            try:
                for number in run_jobs(run_unit, missing, params.workers):
                    progress.advance(len(missing[number].clips))
            except JobKilled as error:
                names = ", ".join(clip.name for clip in missing[error.job].clips)
                raise UserError(
                    f"extraction was killed twice, by lack of memory or a crash of the decoder, in one of: {names}; "
                    "move the faulty clip away"
                ) from None
        _join(params, [unit.out for unit in units], len(clips), out)
        shutil.rmtree(work)


def _units(params: ExtractParams, clips: Sequence[Clip], state: Path) -> list[Unit]:
    boxes = None
    if params.boxes is not None:
        boxes = state / "boxes"
        if not boxes.is_dir():
            BoxFile.write(params.boxes, [clip.name for clip in clips], boxes)
    return [
        Unit(clips[first : first + CLIPS_PER_UNIT], first, state / f"unit-{number:06d}", params, boxes)
        for number, first in enumerate(range(0, len(clips), CLIPS_PER_UNIT))
    ]


def _join(params: ExtractParams, parts: Sequence[Path], clips: int, out: Path) -> None:
    rejects = pd.concat([tables.read(part / REJECTS, tables.Rejects) for part in parts], ignore_index=True)
    if len(rejects) == clips:
        counts = Counter(rejects["reason"])
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        first = rejects.iloc[0]
        raise UserError(
            f"{params.videos}: all {clips} clips were rejected ({reasons}); "
            f"the first: {first['clip']}: {first['detail']}"
        )
    total = sum(pq.read_metadata(part / INDEX).num_rows for part in parts)
    with atomic_directory(out) as temporary, Progress("join", total, "frame") as progress:
        merge(parts, temporary, params.shard_mb, progress.advance)
        tables.write(rejects, temporary / REJECTS, tables.Rejects)
        write_json(temporary / RECIPE, recipe(params))


def _state_hash(params: ExtractParams, clips: Sequence[Clip]) -> str:
    """Of all that decides what the units hold: params, clips, boxes, code and the libraries that make pixels."""
    state = hashlib.sha256()
    state.update(hash_json(params.model_dump(mode="json", exclude=_NOT_IN_UNITS)).encode())
    versions = [av.__version__, cv2.__version__, simplejpeg.__version__]
    state.update(hash_json([CLIPS_PER_UNIT, *versions]).encode())
    for source in (Path(shards.__file__), *sorted(Path(__file__).parent.glob("*.py"))):
        state.update(source.read_bytes())
    for path in [clip.path for clip in clips] + ([params.boxes] if params.boxes else []):
        try:
            status = path.stat()
        except OSError:
            state.update(f"{path} absent\0".encode())
        else:
            state.update(f"{path} {status.st_size} {status.st_mtime_ns}\0".encode())
    return state.hexdigest()[:16]
