"""Frames that cannot be decoded: named, counted, and passed over up to a limit."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from fabnet.errors import UserError
from fabnet.frames.store import CorruptFrame


class Corrupt:
    """The corrupt frames met so far; threads may share it.

    Args:
        limit: how many frames may be passed over.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rows: set[int] = set()
        self._lock = Lock()

    def add(self, error: CorruptFrame) -> None:
        """Name a frame and pass it over from now on.

        Raises:
            UserError: it is one too many.
        """
        with self._lock:
            if error.row in self._rows:
                return
            if len(self._rows) >= self.limit:
                raise UserError(
                    f"{error}; frames passed over before it: {len(self._rows)}, all that corrupt_limit allows. Run the "
                    "stage `extract` again, or raise corrupt_limit"
                )
            self._rows.add(error.row)
            print(f"{error}; passed over, {len(self._rows)} of at most {self.limit}", file=sys.stderr)

    def among(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which samples, (B,), have one of these frames among their rows, (B, k)."""
        with self._lock:
            if not self._rows:
                return np.zeros(len(rows), dtype=bool)
            return np.asarray(np.isin(rows, list(self._rows)).any(axis=1), dtype=bool)

    @property
    def rows(self) -> list[int]:
        """Numbers of the frames, sorted."""
        with self._lock:
            return sorted(self._rows)

    def remember(self, rows: Iterable[int]) -> None:
        """Take over frames of a checkpoint or of another process: they count, and are not named again.

        Raises:
            UserError: there are too many together.
        """
        with self._lock:
            self._rows.update(rows)
            if len(self._rows) > self.limit:
                raise UserError(
                    f"{len(self._rows)} frames cannot be decoded, more than the {self.limit} of corrupt_limit. "
                    "Run the stage `extract` again, or raise corrupt_limit"
                )
