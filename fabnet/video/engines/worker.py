"""A process that may be lost: whoever started it begins its job again elsewhere."""

import faulthandler
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

from fabnet.errors import ConfigError, UserError

Job = TypeVar("Job")

_STDERR = 2

# A property of the process, set once when it begins to work for an engine.
_expendable = False


def become_worker() -> None:
    """Let `time_limit` end this process."""
    global _expendable
    _expendable = True


def follow_parent() -> None:
    """End this process with its parent, and leave it to the parent what Ctrl-C means."""
    # It reaches every process of the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def attempt(function: Callable[[Job], object], job: Job) -> Exception | None:
    """Call `function`; what it raises comes back as an error that can travel, with its traceback as a note.

    Returns:
        A UserError (ConfigError) with the same line for one of these or of a kind of it, otherwise a RuntimeError: an
        error may hold anything, but a line of text travels.
    """
    try:
        function(job)
    except Exception as error:
        told: Exception
        if isinstance(error, UserError):
            told = (ConfigError if isinstance(error, ConfigError) else UserError)(str(error))
        else:
            told = RuntimeError("".join(traceback.format_exception_only(error)).strip())
        told.add_note(traceback.format_exc())
        return told
    return None


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process, with a traceback on stderr, if the block takes longer; nothing if it belongs to no engine.

    The clock is a thread of its own that needs no Python, so that a loop within a decoder is ended too.
    """
    if not _expendable:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
