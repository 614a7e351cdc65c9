"""Resumable state of a run on disk: the last checkpoint, and the one before it in case the last is damaged."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from fabnet.errors import UserError
from fabnet.files import atomic_file


def previous(path: Path) -> Path:
    """checkpoint.pt -> checkpoint.previous.pt"""
    return path.with_suffix(f".previous{path.suffix}")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; what `path` held before becomes `previous(path)`.

    Raises:
        UserError: it cannot be written, for want of space say; the checkpoint of before is still there.
    """
    try:
        with atomic_file(path) as temporary:
            torch.save(state, temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # a file that is renamed before its content is on the disk may come back empty
            if path.exists():
                path.replace(previous(path))
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise UserError(
            f"{path}: the checkpoint could not be written ({first_line(error)}); "
            "the one before is kept: make room and run again"
        ) from None


def load(path: Path) -> dict[str, Any] | None:
    """The state in `path`, or the one before it where that is damaged, or None when there is none yet.

    Raises:
        UserError: there are checkpoints but none can be read.
    """
    problems = []
    for candidate in (path, previous(path)):
        if not candidate.is_file():
            continue
        try:
            state: dict[str, Any] = torch.load(candidate, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, OSError, UnpicklingError) as error:
            problems.append(f"{candidate}: cannot be read as a checkpoint ({first_line(error)})")
            continue
        if candidate != path:
            why = problems[0] if problems else f"{path}: is absent"
            print(f"{why}; going on from the one before, {candidate.name}, step {state['step']}", file=sys.stderr)
        return state
    if problems:
        raise UserError(f"{problems[0]}; delete {path.parent} to train from the start")
    return None


def load_at(path: Path, step: int) -> dict[str, Any]:
    """The state after `step` steps, in `path` or in the one before it, as another process has found it.

    Raises:
        UserError: this process does not see it.
    """
    for candidate in (path, previous(path)):
        if candidate.is_file():
            try:
                state: dict[str, Any] = torch.load(candidate, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, ValueError, OSError, UnpicklingError):
                continue
            if state["step"] == step:
                return state
    raise UserError(f"{path}: the checkpoint of step {step} is not here; all processes need one file system")


def first_line(error: Exception) -> str:
    """What went wrong, for a message of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
