"""Runs a program of ours: errors meant for people become one line and an exit code."""

import gc
import sys
from collections.abc import Callable

from fabnet.errors import UserError


def run(app: Callable[[], object]) -> None:
    """Call `app`, which parses the command line, and end the program as its errors ask.

    Raises:
        SystemExit: `app` raised a UserError, which is told on stderr, or asked for the end.
    """
    # Torch, MLflow and scikit-learn make a million objects that all stay. Looking for garbage among them every 700 new
    # ones takes a quarter of the time of their import, and taking them apart at the end another two seconds.
    gc.set_threshold(10_000, 20, 20)
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        gc.freeze()
