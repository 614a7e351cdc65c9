"""Resumable state of a run."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from fabnet.errors import UserError
from fabnet.files import atomic_file


def save(path: Path, state: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> dict[str, Any] | None:
    """The state in `path`, or None when there is none yet."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"{path}: cannot be read as a checkpoint ({first}); delete it to train from the start"
        ) from None
    return state
