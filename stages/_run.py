"""Runs a stage's command: errors meant for people become one line and an exit code."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

import typer


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # As an exception, so that temporary outputs are removed and open MLflow runs are closed on the way out.
    sys.exit(143)


def run(command: Callable[..., None]) -> None:
    from fabnet.errors import UserError

    signal.signal(signal.SIGTERM, _terminate)
    try:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
