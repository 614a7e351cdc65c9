"""Runs of what DVC has in dvc.lock: those that are missing are rebuilt from the outputs in the working tree.

A stage that DVC restored from its run cache never ran, and a database may be lost; neither loses anything that the
lock and the outputs do not still tell. Every entry of a stage that is tracked (train, probe, supervise) ends up with
exactly one FINISHED run that bears its id in the tag dvc.lock: the run that the stage itself left if there is one,
otherwise a new one, tagged fabnet.rebuilt.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fabnet.config import ProbeParams, SuperviseParams
from fabnet.files import locked
from fabnet.tracking.lineage import Entry, commit_of, output_hash, read_lock
from fabnet.tracking.probing_record import probing_record, supervised_record
from fabnet.tracking.record import Record, training_record
from fabnet.tracking.runs import OUTS, PROCESS, Recorder, reap, stage_tags, this_process
from fabnet.tracking.store import project_root, required_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOCK = "dvc.lock"
REBUILT = "fabnet.rebuilt"
INCOMPLETE = "fabnet.incomplete"


@dataclass
class SyncSummary:
    """What `sync` did, by stage."""

    rebuilt: list[str] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        for title, names in (
            ("closed, its process is gone", self.closed),
            ("run rebuilt", self.rebuilt),
            ("run tied to dvc.lock", self.tied),
            ("has its run", self.kept),
        ):
            yield from (f"{name}: {title}" for name in names)
        yield from (f"{name}: no run: {reason}" for name, reason in self.skipped.items())


def sync(root: Path | None = None) -> SyncSummary:
    """Give every train, probe and supervise stage of dvc.lock its run, and close the runs of killed processes.

    Idempotent. May be killed at any moment and started again.

    Raises:
        UserError: there is no dvc.lock, another sync is going on, or the store failed.
    """
    root = root or project_root()
    done = SyncSummary()
    busy = f"{root}: another `fabnet track sync` is going on; wait for it or stop it"
    with locked(root / ".work/track/lock", busy), required_store() as (client, experiment):
        done.closed = reap(client, experiment)
        for entry in read_lock(root).values():
            if entry.trains or entry.kind in ("probe", "supervise"):
                _sync(entry, root, client, experiment, done)
    return done


def run_of(client: "MlflowClient", experiment: str, entry: Entry) -> "Run | None":
    """The finished run that is tied to an entry.

    Args:
        client: of the tracking store.
        experiment: its id.
        entry: of dvc.lock.
    """
    return next((run for run in _finished(client, experiment, entry) if run.data.tags.get(LOCK) == entry.id), None)


def _sync(entry: Entry, root: Path, client: "MlflowClient", experiment: str, done: SyncSummary) -> None:
    if run_of(client, experiment, entry):
        done.kept.append(entry.name)
        return
    for run in _finished(client, experiment, entry):
        tags = run.data.tags
        if LOCK not in tags and INCOMPLETE not in tags and _put_out(tags.get(OUTS, ""), entry):
            client.set_tag(run.info.run_id, LOCK, entry.id)
            done.tied.append(entry.name)
            return
    differing = [
        path for path, md5 in entry.outs.items() if not (root / path).exists() or output_hash(root / path) != md5
    ]
    if differing:
        done.skipped[entry.name] = f"{differing[0]} is absent or not as in dvc.lock; run `dvc checkout` or `dvc pull`"
        return
    _rebuild(entry, root, client, experiment)
    done.rebuilt.append(entry.name)


def _finished(client: "MlflowClient", experiment: str, entry: Entry) -> list["Run"]:
    """Finished runs of a stage, the latest first."""
    wanted = f"attributes.status = 'FINISHED' AND tags.`dvc.stage` = '{entry.name}'"
    return list(client.search_runs([experiment], wanted, order_by=["attributes.start_time DESC"], max_results=1000))


def _put_out(outs: str, entry: Entry) -> bool:
    """Whether a tag dvc.outs names the outputs of an entry."""
    try:
        return bool(json.loads(outs) == dict(entry.outs))
    except ValueError:
        return False


class _Strict(Recorder):
    """Failures are raised: without the run, a sync is of no use."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        super().__init__()
        self._client, self.run_id = client, run_id

    def _give_up(self, error: Exception) -> None:
        raise error


def _rebuild(entry: Entry, root: Path, client: "MlflowClient", experiment: str) -> None:
    record = _record(entry, root)
    commit = commit_of(root, entry)
    made_at = max(int((root / path).stat().st_mtime * 1000) for path in entry.outs)
    tags = {
        **stage_tags(entry.kind, entry.name, record.params, record.inputs),
        # The commit that holds the stage's entry holds the code that it names.
        "git.commit": commit or "none",
        "git.dirty": "false" if commit else "unknown",
        OUTS: json.dumps(dict(entry.outs), sort_keys=True),  # the files were just found to be these
        LOCK: entry.id,
        REBUILT: "true",
        PROCESS: this_process(),
    }
    run_id = client.create_run(experiment, start_time=made_at, run_name=entry.name, tags=tags).info.run_id
    recorder = _Strict(client, run_id)
    recorder.log_params(record.params)
    recorder.log_inputs(record.inputs)
    recorder.log(record)
    client.set_terminated(run_id, "FINISHED", end_time=made_at)


def _record(entry: Entry, root: Path) -> Record:
    directory = root / next(iter(entry.outs))
    if entry.trains:
        return training_record(directory)
    # An entry may be older than the keys that are known now: what does not validate is logged as it is.
    if entry.kind == "supervise":
        params = dict(entry.params.get("supervise", {}))
        known = dict.fromkeys(SuperviseParams.model_fields)  # a key that the entry lacks stands for null
        with suppress(ValidationError):
            params = SuperviseParams.model_validate({**known, **params}).model_dump()
        return supervised_record(entry.key, directory, params)
    params = dict(entry.params.get("probe", {}))
    with suppress(ValidationError):
        params = ProbeParams.model_validate(params).model_dump()
    return probing_record(entry.key, directory, params)
