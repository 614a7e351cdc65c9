"""Runs a stage's command: errors meant for people become one line and an exit code."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import typer


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # As an exception, so that temporary outputs are removed and open MLflow runs are closed on the way out.
    sys.exit(143)


def run(command: Callable[..., None], one_thread: bool = False) -> None:
    """Run `command` as the program, with arguments from the command line.

    Args:
        one_thread: of linear algebra. Another number of threads rounds sums in another order, and scores would depend
            on the number of cores.
    """
    from fabnet.command import run as run_app

    if one_thread:  # libraries read it when `command` imports them
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    signal.signal(signal.SIGTERM, _terminate)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_app(app)
