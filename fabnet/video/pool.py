"""Jobs run by spawned processes, in an order that does not matter, surviving the death of a process."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_exit
from typing import TypeVar

Job = TypeVar("Job")


class JobKilled(Exception):
    """The process of a job died twice: first beside others, then alone. `job` is its number."""

    def __init__(self, job: int) -> None:
        super().__init__(job)
        self.job = job


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(function: Callable[[Job], object], jobs: Sequence[Job], workers: int) -> Iterator[int]:
    """Call `function` on every job and yield the jobs' numbers as they finish.

    Args:
        workers: processes; 0 = one per core, 1 = this process.

    Raises:
        JobKilled: a job's process dies (out of memory, a crash of a decoder) each time.
        Exception: what `function` raises; jobs that have not begun are given up.
    """
    workers = min(workers or cores(), len(jobs))
    if workers <= 1:
        for number, job in enumerate(jobs):
            function(job)
            yield number
        return
    waiting = iter(range(len(jobs)))
    while True:
        pool = _Pool(function, jobs, workers)
        try:
            yield from pool.run(waiting)
            return
        except BrokenProcessPool:
            # It does not tell which of its jobs broke it, so each runs again in a pool of its own.
            suspects = sorted(pool.begun)
        for number in suspects:
            try:
                yield from _Pool(function, jobs, 1).run(iter([number]))
            except BrokenProcessPool:
                raise JobKilled(number) from None


class _Pool:
    """Runs numbered jobs; `begun` holds those that were handed over and not reported."""

    def __init__(self, function: Callable[[Job], object], jobs: Sequence[Job], workers: int) -> None:
        self._function, self._jobs, self._workers = function, jobs, workers
        self.begun: set[int] = set()

    def run(self, numbers: Iterator[int]) -> Iterator[int]:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_start_worker)
        running: dict[Future[object], int] = {}
        try:
            while True:
                # Few are handed over at a time, so that little is lost when the run is interrupted.
                for number in islice(numbers, 2 * self._workers - len(running)):
                    self.begun.add(number)
                    running[pool.submit(self._function, self._jobs[number])] = number
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    number = running.pop(future)
                    self.begun.remove(number)
                    yield number
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow_parent() -> None:
        wait_for_exit([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
