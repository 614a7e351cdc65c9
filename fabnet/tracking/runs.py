"""One MLflow run per train or probe stage.

The stage is what matters: every failure of tracking, at the start or in the middle, costs one warning on stderr, after
which the recorder does nothing. Exceptions of the stage itself pass through unchanged.

A process that is killed outright cannot close its run, which would stay RUNNING for ever. A run therefore names its
process, and whoever opens the store next on that machine closes the runs of the dead.
"""

import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fabnet import __version__
from fabnet.files import hash_file
from fabnet.tracking.lineage import git_state, output_hash, pipeline_id
from fabnet.tracking.store import open_store, project_root, quiet, tracking_uri, without_password

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    from fabnet.tracking.record import Record


PROCESS = "fabnet.process"
REAPED = "fabnet.reaped"
_SECONDS = 2.0  # by which a start time may drift: it is counted from the boot, whose time the clock corrects
T = TypeVar("T")

logger = logging.getLogger(__name__)

# What MLflow accepts in one value and one request.
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_METRICS_PER_BATCH = 1000
MAX_PARAMS_PER_BATCH = 100
MAX_DIGEST_LENGTH = 36

#: Tag with the MD5 that dvc.lock knows each output by: what ties a run to an entry of the lock.
OUTS = "dvc.outs"
PIPELINE = "pipeline.id"
_SYSTEM_EVERY_S = 10


def this_process() -> str:
    """`host pid start` of the process, the start in seconds since 1970: a later process may have the same pid."""
    import psutil  # type: ignore[import-untyped]

    pid = os.getpid()
    return f"{socket.gethostname()} {pid} {psutil.Process(pid).create_time():.2f}"


def is_gone(process: str) -> bool:
    """Whether a process as `this_process` names it has ended. Nothing is known of other machines: False for theirs."""
    import psutil

    try:
        host, pid, started = process.split(" ")
        number, start = int(pid), float(started)
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    try:
        found = psutil.Process(number)
        return found.status() == psutil.STATUS_ZOMBIE or abs(found.create_time() - start) > _SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def reap(client: "MlflowClient", experiment: str) -> list[str]:
    """Close, as KILLED, the runs of an experiment whose process has ended on this machine; their names.

    Args:
        client: of the tracking store.
        experiment: its id.
    """
    closed = []
    token = None
    while True:
        page = client.search_runs([experiment], "attributes.status = 'RUNNING'", page_token=token)
        for run in page:
            if is_gone(run.data.tags.get(PROCESS, "")):
                client.set_tag(run.info.run_id, REAPED, "true")
                client.set_terminated(run.info.run_id, "KILLED")
                closed.append(str(run.info.run_name))
        token = page.token
        if not token:
            return closed


class Recorder:
    """Writes to one run. Every method is safe to call whatever became of the tracking store."""

    def __init__(self) -> None:
        self.run_id: str | None = None
        self._client: MlflowClient | None = None
        self._broken = False
        self._system: SystemMetricsMonitor | None = None

    def log(self, record: "Record") -> None:
        """Log all of a record but its params and inputs, which `run` was given."""
        self.log_metrics(record.metrics)
        self.log_history(record.history)
        self.set_tags(record.tags)
        for name, draw in record.figures.items():
            self.log_figure(name, draw())
        for path in record.artifacts:
            self.log_artifact(path)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a nested mapping under dotted keys. Values that are no strings become JSON; long ones are cut."""
        items = [(key, _cut(value, MAX_PARAM_LENGTH)) for key, value in flatten(params)]

        def write(client: "MlflowClient", run_id: str) -> None:
            from mlflow.entities import Param

            for batch in _batches(items, MAX_PARAMS_PER_BATCH):
                client.log_batch(run_id, params=[Param(_legal(key), value) for key, value in batch])

        self._attempt(write)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log final values."""
        self.log_history((key, value, 0) for key, value in metrics.items())

    def log_history(self, points: Iterable[tuple[str, float, int]]) -> None:
        """Log (key, value, step) points, in requests of at most 1,000."""
        now_ms = int(time.time() * 1000)
        points = list(points)  # an error in the caller's iterator is the caller's

        def write(client: "MlflowClient", run_id: str) -> None:
            from mlflow.entities import Metric

            for batch in _batches(points, MAX_METRICS_PER_BATCH):
                metrics = [Metric(_legal(key), float(value), now_ms, step) for key, value, step in batch]
                client.log_batch(run_id, metrics=metrics)

        self._attempt(write)

    def log_figure(self, name: str, figure: "Figure") -> None:
        """Log a figure as an artifact; the suffix of `name` chooses its format.

        Args:
            name: file name of the artifact.
            figure: of matplotlib.
        """
        self._attempt(lambda client, run_id: client.log_figure(run_id, figure, name))

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """Log a file, below `folder` of the run's artifacts.

        Args:
            path: of the file.
            folder: among the artifacts; None is their root.
        """
        self._attempt(lambda client, run_id: client.log_artifact(run_id, str(path), folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, such as hashes of weights, data or crop recipe."""

        def write(client: "MlflowClient", run_id: str) -> None:
            from mlflow.entities import RunTag

            client.log_batch(
                run_id, tags=[RunTag(_legal(key), _cut(value, MAX_TAG_LENGTH)) for key, value in tags.items()]
            )

        self._attempt(write)

    def log_inputs(self, inputs: Mapping[str, str]) -> None:
        """Log files as the run's data sets: their hashes by path."""

        def write(client: "MlflowClient", run_id: str) -> None:
            from mlflow.entities import Dataset, DatasetInput

            sets = [
                Dataset(name=path, digest=digest[:MAX_DIGEST_LENGTH], source_type="local", source=path)
                for path, digest in inputs.items()
            ]
            client.log_inputs(run_id, [DatasetInput(each) for each in sets])

        if inputs:
            self._attempt(write)

    def log_outs(self, outs: Iterable[Path | str]) -> None:
        """Tag the run with the hashes of the stage's outputs, which are complete by now."""
        self._attempt(lambda client, run_id: client.set_tag(run_id, OUTS, outs_tag(outs)))

    def _open(self, stage: str, name: str, params: Mapping[str, Any], dependencies: Iterable[Path | str]) -> None:
        try:
            inputs = {Path(path).as_posix(): hash_file(path) for path in dependencies}
            self._client, experiment = open_store()
            with quiet():
                reap(self._client, experiment)
                tags = {
                    **stage_tags(stage, name, params, inputs),
                    **git_state(project_root()),
                    PROCESS: this_process(),
                }
                # By the client, never by mlflow.start_run: an inherited MLFLOW_RUN_ID would make all stages one run.
                self.run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
                self._watch_the_system()
        except Exception as error:
            self._give_up(error)
            return
        self.log_params(params)
        self.log_inputs(inputs)

    def _watch_the_system(self) -> None:
        """Log load and memory of the machine every ten seconds, from a thread of MLflow's own."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        assert self._client is not None
        # A store that fails is told of once, by us.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL + 1)
        monitor = SystemMetricsMonitor(
            self.run_id, sampling_interval=_SYSTEM_EVERY_S, tracking_uri=self._client.tracking_uri
        )
        monitor.start()
        self._system = monitor

    def _attempt(self, write: Callable[["MlflowClient", str], None]) -> None:
        if self._broken or self._client is None or self.run_id is None:
            return
        try:
            with quiet():
                write(self._client, self.run_id)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        reason = without_password(error, tracking_uri(), 200)
        logger.warning(f"MLflow tracking failed, the stage goes on without it: {reason}")

    def _close(self, status: str) -> None:
        if self._client is None or self.run_id is None:
            return
        if self._system is not None:
            with quiet():
                self._system.finish()
        if not self._broken:
            self._attempt(lambda client, run_id: client.set_terminated(run_id, status))
            return
        # The warning is out. The store may still work (a picture failed, say): do not leave the run as RUNNING.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        try:
            with quiet():
                self._client.set_tag(self.run_id, "fabnet.incomplete", "true")
                self._client.set_terminated(self.run_id, status)
        except Exception:
            return


@contextmanager
def run(
    stage: str,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    dependencies: Iterable[Path | str] = (),
    outs: Iterable[Path | str] = (),
) -> Iterator[Recorder]:
    """Record the block as one MLflow run: FINISHED, FAILED by an exception, or KILLED by an interrupt or exit.

    Args:
        stage: kind of stage, such as `train`.
        name: the stage's address in dvc.yaml, such as `train@fabnet`; also the name of the run.
        params: those that the stage depends on, resolved; logged and hashed into the tag pipeline.id.
        tags: further tags, such as hashes of weights, data or crop recipe.
        dependencies: files whose hashes make up pipeline.id together with `params`, see lineage.pipeline_id; they are
            logged as the run's data sets.
        outs: outputs of the stage, as dvc.yaml names them. Their hashes tie the run to the entry of dvc.lock that DVC
            writes after the stage; without them, `fabnet track sync` cannot tell that the stage has a run already.
    """
    recorder = Recorder()
    status = "KILLED"  # unless we learn better: KeyboardInterrupt and SystemExit (of SIGTERM) are no Exceptions
    try:
        recorder._open(stage, name, params, dependencies)
        if tags:
            recorder.set_tags(tags)
        yield recorder
        recorder.log_outs(outs)
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        recorder._close(status)


def stage_tags(stage: str, name: str, params: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, str]:
    """What is known of a stage's run before it starts.

    Args:
        stage: kind of stage, such as `train`.
        name: the stage's address in dvc.yaml, such as `train@fabnet`.
        params: those that the stage depends on, resolved.
        inputs: SHA-256 of the files that stand for its inputs, by path.
    """
    return {
        "dvc.stage": name,
        "fabnet.stage": stage,
        "fabnet.version": __version__,
        PIPELINE: pipeline_id(name, params, inputs.values()),
    }


def outs_tag(outs: Iterable[Path | str]) -> str:
    """Value of the tag dvc.outs."""
    return json.dumps({Path(path).as_posix(): output_hash(path) for path in outs}, sort_keys=True)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of a nested mapping as (dotted key, text).

    Args:
        values: nested dictionaries.
        prefix: put before every key.
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _legal(key: str) -> str:
    """The key with characters that MLflow refuses replaced, such as the @ of a stage's name."""
    return re.sub(r"[^\w.\-/ :]", "_", key)


def _cut(value: str, length: int) -> str:
    return value if len(value) <= length else value[: length - 1] + "…"
