"""Work for a process that may be lost, begun at once: a fork of one that has imported what the work needs."""

import multiprocessing
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import TypeVar

from fabnet.video.engines.worker import attempt, follow_parent

Job = TypeVar("Job")


def prepare(module: str) -> None:
    """Start the process that is forked later, which imports `module` meanwhile."""
    multiprocessing.set_forkserver_preload([module])
    forkserver.ensure_running()


def run(function: Callable[[Job], None], job: Job, limit_s: float) -> bool:
    """Call `function`, of a module's top level, in a process of its own, which is ended after `limit_s` seconds.

    Returns:
        Whether it came to its end; False if the process died or was ended.

    Raises:
        UserError: `function` raised one.
        RuntimeError: it raised something else, which is named; its traceback is a note.
    """
    prepare(function.__module__)
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, function, job), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        if not ours.poll(limit_s):
            return False
        error = ours.recv()
    except EOFError:
        return False
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
    if error is not None:
        raise error
    return True


def _work(pipe: Connection, function: Callable[[Job], None], job: Job) -> None:
    follow_parent()
    pipe.send(attempt(function, job))
