"""Videos become track shards, an index, rejects and a ledger: clips in groups, in parallel, restartable."""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import cv2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import simplejpeg

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.files import atomic_directory, hash_file, hash_json, locked, write_json
from fabnet.frames import conversion, shards
from fabnet.frames.shards import RECIPE, merge
from fabnet.progress import Progress
from fabnet.video.clips import ClipList
from fabnet.video.engines import Engine, open_engine
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected
from fabnet.video.sources.open import Source, open_source
from fabnet.video.sources.safe_walk import by_suffix
from fabnet.video.unit import (
    CLIPS,
    LEDGER,
    LEDGER_SCHEMA,
    REJECTS,
    REJECTS_SCHEMA,
    Unit,
    run_unit,
    write_part,
    write_table,
)

_log = logging.getLogger(__name__)

# Few clips are spread over many units, so that long ones find workers; many over no more than are quickly listed.
_SPREAD, _CLIPS_PER_UNIT, _MOST_UNITS = 64, 16, 8192
_CLIPS_AT_ONCE = 4096

# What becomes of finished units, and who makes them, changes nothing in them.
_NOT_IN_UNITS = {"workers", "engine", "shard_mb"}


def extract(params: ExtractParams, out: Path, work: Path) -> None:
    """Extract the crops of all clips of `params.videos` into the directory `out`, which is replaced as a whole.

    Finished groups of clips are kept in `work` until the end, and a run with the same params, clips and code takes
    them up again. The result does not depend on `params.engine` and `params.workers`. A worker that dies loses the
    group it was at, which is started again; a clip that kills whoever works on it is rejected.

    Args:
        params: the section `extract` of params.yaml.
        out: directory of shards, index, rejects, ledger and recipe.
        work: directory of resumable state, removed at the end.

    Raises:
        UserError: no clips, wrong annotations, no face in any clip, or another extraction at work in `work`.
    """
    engine = open_engine(params.engine)
    # An orphan of a killed pipeline may still be writing there.
    with locked(work / ".lock", f"{work}: another extraction is at work; wait for it or end it"):
        listed = open_source(params, work)
        others = Counter[str]()
        clips = ClipList.write(listed.list_clips(others), work / CLIPS)
        _tell_ignored(params, others)
        state = work / _state_hash(params, work / CLIPS, listed)
        state.mkdir(exist_ok=True)
        (work / CLIPS).replace(state / CLIPS)
        open_source(params, state).prepare(state)
        units = _units(params, state, len(clips))
        missing = [unit for unit in units if not unit.out.is_dir()]
        done = len(clips) - sum(unit.count for unit in missing)
        killed = []
        with Progress("extract", len(clips), "clip", done=done) as progress:
            for number, died in engine(run_unit, missing, params.workers):
                if died:
                    killed.append(missing[number])
                else:
                    progress.advance(missing[number].count)
            run_isolated(killed, engine, params.workers)
            progress.advance(sum(unit.count for unit in killed))
        _join(params, [unit.out for unit in units], out, others.total())
        shutil.rmtree(work)


def clips_per_unit(clips: int) -> int:
    return max(1, min(_CLIPS_PER_UNIT, clips // _SPREAD), -(-clips // _MOST_UNITS))


def _units(params: ExtractParams, state: Path, clips: int) -> list[Unit]:
    count = clips_per_unit(clips)
    return [Unit(params, state, first, min(count, clips - first)) for first in range(0, clips, count)]


def _tell_ignored(params: ExtractParams, others: Counter[str]) -> None:
    if others.total():
        _log.warning(
            f"{params.videos}: passed over {others.total()} files that are no videos by their suffix "
            f"({by_suffix(others)}); extract.clips reads those that it lists"
        )


def _join(params: ExtractParams, parts: Sequence[Path], out: Path, ignored: int) -> None:
    ledger = _joined(parts, LEDGER, LEDGER_SCHEMA)
    rejects = _joined(parts, REJECTS, REJECTS_SCHEMA)
    total = pc.sum(ledger["frames"]).as_py()
    if total == 0:
        counts = rejects["reason"].value_counts().to_pylist()
        reasons = ", ".join(sorted(f"{count['counts']} {count['values']}" for count in counts))
        first = rejects.slice(0, 1).to_pylist()[0]
        raise UserError(
            f"{params.videos}: all {pc.sum(ledger['clips']).as_py()} clips were rejected ({reasons}); "
            f"the first: {first['clip']}: {first['detail']}"
        )
    _tell_other_people(params, ledger)
    with atomic_directory(out) as temporary, Progress("join", total, "frame") as progress:
        merge(parts, temporary, params.shard_mb, progress.advance)
        write_table(rejects.to_pandas(), temporary / REJECTS, tables.Rejects, REJECTS_SCHEMA)
        rows = ledger.to_pandas()
        rows.loc[0, "files_ignored"] = ignored
        write_table(rows, temporary / LEDGER, tables.Ledger, LEDGER_SCHEMA)
        write_json(temporary / RECIPE, recipe(params))


def _tell_other_people(params: ExtractParams, ledger: pa.Table) -> None:
    clips, crowded, swapped = (pc.sum(ledger[name]).as_py() for name in ("clips", "clips_crowded", "clips_swapped"))
    told = {
        "several faces of one identity at once": crowded,
        "one face in the place of another of the same identity": swapped,
    }
    if any(told.values()):
        shown = "; ".join(f"{what}: {count} of {clips} clips" for what, count in told.items() if count)
        _log.warning(
            f"{params.videos}: {shown}: different people are learnt as one; cut them apart, or name them by "
            "extract.clips. A contact sheet shows who is who (fabnet preview CLIP)"
        )


def _joined(parts: Sequence[Path], name: str, schema: pa.Schema) -> pa.Table:
    return pa.concat_tables(pq.read_table(part / name, schema=schema) for part in parts)


def _state_hash(params: ExtractParams, listed: Path, source: Source) -> str:
    """Of all that decides what the units hold: params, clips, annotations, code and the libraries that make pixels."""
    clips = ClipList(listed)
    state = hashlib.sha256()
    state.update(hash_json(params.model_dump(mode="json", exclude=_NOT_IN_UNITS)).encode())
    versions = [av.__version__, cv2.__version__, simplejpeg.__version__]
    state.update(hash_json([hash_file(listed), clips_per_unit(len(clips)), *versions]).encode())
    for code in (Path(shards.__file__), Path(conversion.__file__), *sorted(Path(__file__).parent.rglob("*.py"))):
        state.update(code.read_bytes())
    for path in _files(clips, source):
        try:
            status = path.stat()
        except OSError:
            state.update(f"{path} absent\0".encode())
        else:
            state.update(f"{path} {status.st_size} {status.st_mtime_ns}\0".encode())
    return state.hexdigest()[:16]


def _files(clips: ClipList, source: Source) -> Iterator[Path]:
    for first in range(0, len(clips), _CLIPS_AT_ONCE):
        for clip in clips.slice(first, _CLIPS_AT_ONCE):
            yield clip.path
    yield from source.inputs()


def run_isolated(units: Sequence[Unit], engine: Engine, workers: int) -> None:
    """Extract units clip by clip, every one in a process of its own.

    A clip whose process dies beside others, which may be for lack of memory, gets another one when nothing else is at
    work. If that dies too, the clip is rejected: crashed.

    Args:
        units: whose process died twice.
        engine: that runs them.
        workers: processes at once, in the first pass.
    """
    clips = [replace(unit, first=unit.first + n, count=1) for unit in units for n in range(unit.count)]
    for at_once in (workers, 1):
        clips = [clip for clip in clips if not clip.out.is_dir()]
        for _ in engine(run_unit, clips, at_once, attempts=1, fresh=True):
            pass
    for unit in units:
        _gather(unit)


def _gather(unit: Unit) -> None:
    """Make the result of a unit of those of its clips."""
    if unit.out.is_dir():  # a unit of one clip that went well in the end
        return
    with atomic_directory(unit.out) as out, write_part(out) as part:
        for number, clip in enumerate(unit.clips(), start=unit.first):
            single = replace(unit, first=number, count=1).out
            if single.is_dir():
                part.add_part(single)
            else:
                detail = "by a crash of the decoder, lack of memory, or a frame that never ends"
                part.add_reject(clip.name, "", Rejected("crashed", f"its process died working on it alone, {detail}"))
        part.finish(unit.first, unit.count)
