"""Work in other processes, on this machine: three ways to share it out, and what a process does that may be lost.

`run_jobs`      every job once, in any order; a process that dies costs its own job only, which is retried
`ordered_map`   results in the order of the items, for work that is ours and does not crash
`run_isolated`  one job at once, within a time limit, for what strangers send

Why not a library: docs/decisions/0021-serving-and-processes.md.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import NamedTuple, TypeVar

from fabnet import log
from fabnet.errors import ConfigError, UserError

Job = TypeVar("Job")
T = TypeVar("T")
R = TypeVar("R")

#: How often a job is started: a process may die through no fault of its job.
ATTEMPTS = 2

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_STDERR = 2

# A property of the process, set once when it begins to work for another one.
_is_worker = False


class Outcome(NamedTuple):
    """A job that needs no more work: it is done, or its process died every time."""

    job: int
    died: bool


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], object],
    jobs: Sequence[Job],
    workers: int,
    attempts: int = ATTEMPTS,
    fresh: bool = False,
) -> Iterator[Outcome]:
    """Call `function` on every job in spawned processes, and yield the jobs' numbers as they finish.

    A process that dies (out of memory, a crash of a decoder, `time_limit`) takes only its own job with it, and that
    job is started again up to `attempts` times in all. Jobs are asked for when their turn comes, so a lazy sequence
    of any length stays one.

    Args:
        function: of a module's top level; it and the jobs travel by pickle. What it returns is dropped.
        jobs: looked at one after another, as processes become free.
        workers: processes; 0 = one per core. One worker that need not be fresh is this process itself, which then
            dies with its job.
        attempts: how often a job is started before its death counts; at least 1.
        fresh: every job gets a process of its own.

    Raises:
        UserError: `function` raised one; running jobs are killed and the others given up.
        RuntimeError: it raised something else, which is named; its traceback is a note. One worker in this process
            raises the error itself.
    """
    if workers == 1 and not fresh:
        for number, job in enumerate(jobs):
            function(job)
            yield Outcome(number, died=False)
        return
    waiting = deque(range(len(jobs)))
    started = dict.fromkeys(waiting, 0)
    pool = [_Worker(function, get_context("spawn")) for _ in range(min(workers or cores(), len(jobs)))]
    try:
        while True:
            for worker in pool:
                if worker.job is None and waiting:
                    started[waiting[0]] += 1
                    worker.start(waiting[0], jobs[waiting.popleft()])
            busy = {worker: worker.job for worker in pool if worker.job is not None}
            if not busy:
                return
            ready = set(wait([worker.connection for worker in busy]))
            for worker, number in busy.items():
                if worker.connection not in ready:
                    continue
                died = worker.finish(last=fresh)
                if died and started[number] < attempts:
                    # Next in line, so that a job that kills every process is known before the rest is done.
                    waiting.appendleft(number)
                else:
                    yield Outcome(number, died)
    finally:
        for worker in pool:
            worker.kill()


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield function(item) of each item in order, computed by spawned processes of one thread each.

    At most a few results per worker wait at any time, so memory does not grow with the number of items. When the
    consumer stops, by an exception too, what has not started is cancelled and what has is awaited.

    Args:
        function: of a module's top level; it, items and results travel by pickle.
        items: drawn as results are consumed.
        workers: processes; 0 = one per core, 1 = this process alone.

    Raises:
        UserError: a process died.
        Exception: what `function` raised.
    """
    count = workers or cores()
    if count == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with _single_threaded():
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=follow_parent)
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                f"one of {count} worker processes was killed, which the system does when memory runs out: run it again "
                "with more memory, or fewer processes (the stage's workers, or taskset)"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def preload(module: str) -> None:
    """Start the process that `run_isolated` forks, and have it import `module` meanwhile."""
    multiprocessing.set_forkserver_preload([module])
    forkserver.ensure_running()


def run_isolated(function: Callable[[Job], object], job: Job, limit_s: float) -> bool:
    """Call `function` in a process of its own, which is killed after `limit_s` seconds.

    The process is forked from one that has imported what the function needs, so it starts at once.

    Args:
        function: of a module's top level. What it returns is dropped.
        job: its only argument; both travel by pickle.
        limit_s: seconds.

    Returns:
        Whether it came to its end; False if the process died or was killed.

    Raises:
        UserError, RuntimeError: as `run_jobs`.
    """
    preload(function.__module__)
    worker = _Worker(function, get_context("forkserver"))
    try:
        worker.start(0, job)
        return worker.connection.poll(limit_s) and not worker.finish(last=True)
    finally:
        worker.kill()


class _Worker:
    """A place for a process, which is started when there is a job for it and again after it has died.

    Each has a pipe to itself: that it closes is how a death is noticed, whatever the exit code, and a process that is
    killed in the middle of a message holds no lock that others wait for.
    """

    connection: Connection

    def __init__(self, function: Callable[[Job], object], context: SpawnContext | ForkServerContext) -> None:
        self._function = function
        self._context = context
        self._process: BaseProcess | None = None
        self.job: int | None = None

    def start(self, number: int, job: object) -> None:
        if self._process is not None and not self._process.is_alive():
            self.kill()
        if self._process is None:
            self.connection, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_work, args=(theirs, self._function), daemon=True)
            self._process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
        self.job = number
        with suppress(OSError):  # it died just now, which `finish` will notice
            self.connection.send(job)

    def finish(self, last: bool) -> bool:
        """Whether the process died in its job. Raises what the job raised. `last` ends the process."""
        self.job = None
        try:
            error = self.connection.recv()
        except (EOFError, OSError):
            self.kill()
            return True
        if last or error is not None:
            self.kill()
        if error is not None:
            raise error
        return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self.connection.close()
            self._process = None


def become_worker() -> None:
    """Allow `time_limit` to kill this process."""
    global _is_worker
    _is_worker = True


def follow_parent() -> None:
    """End this process with its parent, leave it to the parent what Ctrl-C means, and log as it does."""
    log.set_up()
    # Ctrl-C reaches every process of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def attempt(function: Callable[[Job], object], job: Job) -> Exception | None:
    """Call `function`; what it raises is returned as an error that survives pickling, with its traceback as a note: a
    UserError (ConfigError) with the same line for one of these or of a kind of it, otherwise a RuntimeError.

    Args:
        function: what it returns is dropped.
        job: its only argument.
    """
    try:
        function(job)
    except Exception as error:
        raised: Exception
        if isinstance(error, UserError):
            raised = (ConfigError if isinstance(error, ConfigError) else UserError)(str(error))
        else:
            raised = RuntimeError("".join(traceback.format_exception_only(error)).strip())
        raised.add_note(traceback.format_exc())
        return raised
    return None


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Kill this process, with a traceback on stderr, if the block takes longer; no limit if it is nobody's worker.

    The clock is a thread of its own that needs no Python, so that a loop within a decoder is ended too.
    """
    if not _is_worker:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _work(connection: Connection, function: Callable[[object], object]) -> None:
    follow_parent()
    become_worker()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(function, job))


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes spawned inside use one thread for linear algebra, since there is one of them per core."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
