"""Resumable state of a run on disk: the last checkpoint, the one before it in case the last is damaged, and run.json.

run.json holds what the run depends on; a run resumes only where that is unchanged.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from fabnet.errors import UserError, first_line
from fabnet.files import atomic_file, read_json, write_json

# Raise it when a change of the code makes old checkpoints mean something else.
_VERSION = 3

# Params that change no result: a run may resume under others.
FREE = ("workers", "cache_mb", "resident_gib", "cuda_graph")

logger = logging.getLogger(__name__)


def previous(path: Path) -> Path:
    """checkpoint.pt -> checkpoint.previous.pt"""
    return path.with_suffix(f".previous{path.suffix}")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; what `path` held before becomes `previous(path)`.

    Args:
        path: of checkpoint.pt.
        state: tensors and plain values, as `Trainer.state_dict` gives them.

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
            logger.warning(f"{why}; resuming from the one before, {candidate.name}, step {state['step']}")
        return state
    if problems:
        raise UserError(f"{problems[0]}; delete {path.parent} to train from the start")
    return None


def load_at(path: Path, step: int) -> dict[str, Any]:
    """The state after `step` steps, in `path` or in the one before it, as another process has found it.

    Args:
        path: of checkpoint.pt.
        step: that the first process resumes from.

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


def claim(directory: Path, params: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Note in `directory` what its run depends on, or check that the run started there depends on the same.

    The caller holds the lock of `directory`.

    Args:
        directory: of the checkpoints; run.json lies beside them.
        params: the variant's, as JSON holds them.
        inputs: hashes of data, splits, recipe and of the weights started from.

    Raises:
        UserError: something has changed, which is named.
    """
    for left in directory.glob(".checkpoint-*"):
        left.unlink()  # half a checkpoint, of a process that was killed while it wrote
    path = directory / "run.json"
    now = {"params": params, "inputs": inputs, "version": _VERSION}
    if not any(directory.glob("checkpoint*.pt")):
        write_json(path, now)
        return
    started = read_json(path) if path.is_file() else {}
    changed = [
        f"{name} was {_short(was)} and is {_short(new)}"
        for name, was, new in _differences(started, now)
        if name not in {f"params.{key}" for key in FREE}
    ]
    if changed:
        raise UserError(
            f"{directory}: the run started here cannot resume: {'; '.join(changed)}. Change it back or delete "
            f"{directory} to start from scratch"
        )


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            item for key in keys for item in _differences(old.get(key), new.get(key), f"{name}.{key}".removeprefix("."))
        ]
    return [] if old == new else [(name, old, new)]


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
