"""Resumable state of a run, in a directory that one trainer at a time may use."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from fabnet.errors import UserError
from fabnet.files import atomic_file


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keep a second trainer off `directory`.

    Raises:
        UserError: another process trains there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{directory}: another process is training this run; wait for it or stop it") from None
        yield


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
