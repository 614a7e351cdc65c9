"""What an extraction asks of whoever runs its jobs, and the choice of an engine."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

#: How often a job is begun: a process may die through no fault of its job.
ATTEMPTS = 2


class Outcome(NamedTuple):
    """A job that needs no more work: it is done, or its process died every time."""

    job: int
    died: bool


class Engine(Protocol):
    def __call__(
        self,
        function: Callable[[Any], object],
        jobs: Sequence[Any],
        workers: int,
        attempts: int = ATTEMPTS,
        fresh: bool = False,
    ) -> Iterator[Outcome]:
        """Call `function` on every job, in processes of one core each, and yield the jobs' numbers as they finish.

        A process that dies (out of memory, a crash of a decoder, fabnet.video.engines.worker.time_limit) takes only
        its own job with it, and that is begun again up to `attempts` times in all. Jobs are asked for when their turn
        comes, so a lazy sequence stays one. Few wait at a time, so that little is lost when the run is interrupted.

        Args:
            function: it and the jobs travel by pickle. What it returns is dropped.
            workers: processes; 0 = one per core.
            fresh: every job gets a process of its own.

        Raises:
            UserError: `function` raised one; running jobs are ended and the others given up.
            RuntimeError: it raised something else, which is named; its traceback is a note.
        """
        ...


def open_engine(name: Literal["local", "ray"]) -> Engine:
    """The engine that params name.

    Raises:
        ConfigError: it is not installed.
    """
    if name == "ray":
        from fabnet.video.engines import cluster

        cluster.check_installed()
        return cluster.run_jobs
    from fabnet.video.engines import local

    return local.run_jobs
