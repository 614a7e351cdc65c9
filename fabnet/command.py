"""Runs a program of ours: errors meant for people become one line and an exit code."""

import gc
import logging
import sys
from collections.abc import Callable

from fabnet import log
from fabnet.errors import UserError

logger = logging.getLogger(__name__)


def run(app: Callable[[], object]) -> None:
    """Call `app`, which parses the command line, and end the program as its errors ask.

    Raises:
        SystemExit: `app` raised a UserError, which is logged as one line (with -v and a traceback), or exited.
    """
    # Torch, MLflow and scikit-learn make a million objects that all stay. Looking for garbage among them every 700 new
    # ones takes a quarter of the time of their import, and taking them apart at the end another two seconds.
    gc.set_threshold(10_000, 20, 20)
    try:
        log.set_up()
        app()
    except UserError as error:
        logger.error(error, exc_info=logger.isEnabledFor(logging.DEBUG))
        sys.exit(error.exit_code)
    finally:
        gc.freeze()
