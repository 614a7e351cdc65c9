"""An extraction's engines: processes of this machine (`processes.run_jobs`), or a Ray cluster (`video.cluster`)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

from fabnet import processes
from fabnet.processes import ATTEMPTS, Outcome


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
    from fabnet.video import cluster

    cluster.check_installed()
    return cluster.run_jobs
