"""An extraction's engines: processes of this machine (`processes.run_jobs`), or a Ray cluster.

The cluster's machines share the videos and the working directory under one path.
"""

import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, Protocol, TypeVar

from fabnet import log, processes
from fabnet.errors import ConfigError, UserError, one_line
from fabnet.processes import ATTEMPTS, Outcome, attempt, become_worker, cores

Job = TypeVar("Job")

# Preempted machines are not the fault of the job that ran on them, until it has happened this often.
_NODES_LOST = 8
# Only the jobs themselves pass through Ray's object store. This is the least that it takes.
_STORE_BYTES = 80_000_000
_CONNECT_S = 10


class Engine(Protocol):
    """Runs jobs in processes of one core each, and survives their death; see `fabnet.processes.run_jobs`."""

    def __call__(
        self,
        function: Callable[[Any], object],
        jobs: Sequence[Any],
        workers: int,
        attempts: int = ATTEMPTS,
        fresh: bool = False,
    ) -> Iterator[Outcome]: ...


def open_engine(name: Literal["local", "ray"]) -> Engine:
    """The engine that params name.

    Raises:
        ConfigError: it is not installed.
    """
    if name == "local":
        return processes.run_jobs
    if find_spec("ray") is None:
        raise ConfigError(
            "extract.engine or --engine: ray is not installed; pip install 'fabnet[ray]', or choose local"
        )
    return run_on_ray


def run_on_ray(
    function: Callable[[Job], object],
    jobs: Sequence[Job],
    workers: int,
    attempts: int = ATTEMPTS,
    fresh: bool = False,
) -> Iterator[Outcome]:
    """As `fabnet.processes.run_jobs`. `workers` 0 uses every core of the cluster, which may grow and shrink meanwhile.

    The loss of a machine does not count as an attempt; its jobs start again elsewhere.

    Args:
        function: of a job; runs in a worker's process.
        jobs: that can be pickled.
        workers: jobs at once; 0 is as many as there are cores.
        attempts: how often a job whose process dies is started, at most.
        fresh: give every job a process of its own.
    """
    with _cluster(workers) as ray:
        from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

        # Ray's own retries do not distinguish the loss of a machine from the death of a process.
        remote = ray.remote(num_cpus=1, max_retries=0, max_calls=1 if fresh else 0)(_work)
        folder, level = os.getcwd(), os.environ.get(log.VARIABLE)
        waiting = deque(range(len(jobs)))
        started, lost = Counter[int](), Counter[int]()
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (workers or max(1, 2 * int(ray.cluster_resources().get("CPU", 0)))):
                    number = waiting.popleft()
                    started[number] += 1
                    running[remote.remote(folder, level, function, jobs[number])] = number
                done, _ = ray.wait(list(running))
                number = running.pop(done[0])
                died, error = True, None
                try:
                    error = ray.get(done[0])
                    died = False
                except NodeDiedError:
                    lost[number] += 1
                    started[number] -= lost[number] <= _NODES_LOST
                except (WorkerCrashedError, OutOfMemoryError):
                    pass
                if error is not None:
                    raise error
                if died and started[number] < attempts:
                    waiting.appendleft(number)
                else:
                    yield Outcome(number, died)
        finally:
            for task in running:
                ray.cancel(task, force=True)


def _work(folder: str, level: str | None, function: Callable[[Job], object], job: Job) -> Exception | None:
    # Paths of params are relative to where the command was given.
    os.chdir(folder)
    log.set_up(level)
    become_worker()
    return attempt(function, job)


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster at RAY_ADDRESS, or to one on this machine that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"logging_level": "warning"}
    if address is None:
        address = "local"
        options |= {"num_cpus": workers or cores(), "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(address)
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        line = one_line(error)
        raise UserError(f"no Ray cluster at {address} (RAY_ADDRESS): {line}") from None
    # ray.init replaces it.
    signal.signal(signal.SIGTERM, terminated)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError if nobody listens at host:port: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
