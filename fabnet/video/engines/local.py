"""Jobs run by spawned processes of this machine."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from fabnet.video.engines.protocol import ATTEMPTS, Outcome
from fabnet.video.engines.worker import attempt, become_worker, follow_parent

Job = TypeVar("Job")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], object],
    jobs: Sequence[Job],
    workers: int,
    attempts: int = ATTEMPTS,
    fresh: bool = False,
) -> Iterator[Outcome]:
    """See Engine. One worker that need not be fresh is this process itself, which then dies with its job."""
    if workers == 1 and not fresh:
        for number, job in enumerate(jobs):
            function(job)
            yield Outcome(number, died=False)
        return
    waiting = deque(range(len(jobs)))
    begun = dict.fromkeys(waiting, 0)
    pool = [_Worker(function) for _ in range(min(workers or cores(), len(jobs)))]
    try:
        while True:
            for worker in pool:
                if worker.job is None and waiting:
                    begun[waiting[0]] += 1
                    worker.begin(waiting[0], jobs[waiting.popleft()])
            busy = {worker: worker.job for worker in pool if worker.job is not None}
            if not busy:
                return
            ready = set(wait([worker.connection for worker in busy]))
            for worker, number in busy.items():
                if worker.connection not in ready:
                    continue
                died = worker.finish(fresh)
                if died and begun[number] < attempts:
                    waiting.appendleft(number)
                else:
                    yield Outcome(number, died)
    finally:
        for worker in pool:
            worker.end()


class _Worker:
    """A place for a process, which is started when there is a job for it and again after it has died."""

    connection: Connection

    def __init__(self, function: Callable[[Job], object]) -> None:
        self._function = function
        self._process: multiprocessing.process.BaseProcess | None = None
        self.job: int | None = None

    def begin(self, number: int, job: object) -> None:
        if self._process is not None and not self._process.is_alive():
            self.end()
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self._process = context.Process(target=_work, args=(theirs, self._function), daemon=True)
            self._process.start()
            # Theirs alone, so that its end is the end of the process.
            theirs.close()
        self.job = number
        with suppress(OSError):  # it died just now, which `finish` will notice
            self.connection.send(job)

    def finish(self, last: bool) -> bool:
        """Whether the process died in its job. Raises what the job raised. `last` ends the process."""
        self.job = None
        try:
            error = self.connection.recv()
        except (EOFError, OSError):
            self.end()
            return True
        if last or error is not None:
            self.end()
        if error is not None:
            raise error
        return False

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self.connection.close()
            self._process = None


def _work(connection: Connection, function: Callable[[object], object]) -> None:
    follow_parent()
    become_worker()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(function, job))
