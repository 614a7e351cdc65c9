"""Logging of commands and DVC stages: one handler on stderr, whose level -v, -q or FABNET_LOG sets.

Modules log to `logging.getLogger(__name__)`. As in any library, importing them configures nothing: commands and stages
call `set_up`, and so do the processes that they start.
"""

import logging
import os
import sys
from typing import TextIO

from fabnet.errors import ConfigError

#: The environment variable that sets the level where there is no command line to do so, as in `make repro`.
VARIABLE = "FABNET_LOG"
LEVELS = ("debug", "info", "warning", "error")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is when a message comes, not to what it was when logging was set up."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _Plain(logging.Formatter):
    """The message alone at level info; before it its level at any other, as in `warning: ...`."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if record.levelno == logging.INFO else f"{record.levelname.lower()}: {line}"


def set_up(level: str | None = None) -> None:
    """Send what fabnet logs at `level` and above to stderr; may be called again to change the level.

    Args:
        level: one of LEVELS, also for processes started from now on; None for that of FABNET_LOG, or `info` without it.

    Raises:
        ConfigError: FABNET_LOG is none of LEVELS.
    """
    logger = logging.getLogger("fabnet")
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        handler = _Stderr()
        handler.setFormatter(_Plain())
        logger.addHandler(handler)
        logger.propagate = False  # a library that sets up the root logger would make every line appear twice
    if level is not None:
        os.environ[VARIABLE] = level
    asked = os.environ.get(VARIABLE) or "info"
    if asked not in LEVELS:
        logger.setLevel(logging.INFO)
        raise ConfigError(f"{VARIABLE}: {asked!r} is none of {', '.join(LEVELS)}")
    logger.setLevel(asked.upper())
