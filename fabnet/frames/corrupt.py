"""Frames that cannot be decoded: the error that names one, and the account of those that are passed over."""

import logging
from collections.abc import Iterable
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.errors import UserError

logger = logging.getLogger(__name__)


class CorruptFrame(UserError):
    """A frame of a store cannot be decoded.

    Args:
        message: names the shard and the member.
        row: its number.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class CorruptFrames:
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
            logger.warning(f"{error}; passed over, {len(self._rows)} of at most {self.limit}")

    def which(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows, of any shape, are these frames."""
        with self._lock:
            return np.isin(rows, list(self._rows)) if self._rows else np.zeros(rows.shape, dtype=bool)

    def among(self, rows: Tensor) -> Tensor:
        """Which samples, (B,), have one of these frames among their rows, (B, k), on the CPU."""
        return torch.from_numpy(self.which(rows.numpy()).any(axis=1))

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
