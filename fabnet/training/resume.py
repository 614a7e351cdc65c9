"""What a checkpoint holds, and what a run must have in common with the one that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.training.history import CurriculumPoint, Point

if TYPE_CHECKING:
    from fabnet.training.loop import Trainer

# Raise it when a change of the code makes old checkpoints mean something else.
_VERSION = 2


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Everything that the steps to come depend on, and all of the history. bfloat16 needs no scaler of gradients."""
    return {
        "step": trainer.step,  # also the sampler's position: batches are a function of their number
        "model": trainer.model.state_dict(),
        "optimiser": trainer.optimiser.state_dict(),
        "schedule": trainer.schedule.state(),
        "curriculum": None if trainer.curriculum is None else trainer.curriculum.state(),
        "random": torch.get_rng_state(),
        "random_of_device": torch.cuda.get_rng_state(trainer.world.device) if _on_gpu(trainer) else None,
        "sums": trainer.sums,
        "since": trainer.since,
        "corrupt": sorted({*trainer.train.corrupt.rows, *trainer.validation.corrupt.rows}),
        "history": [vars(point) for point in trainer.history],
        "curriculum_history": [vars(point) for point in trainer.curriculum_history],
        "best_loss": trainer.best_loss,
        "best_step": trainer.best_step,
        "best": trainer.best,
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put `trainer` where the one was that `state` is of."""
    trainer.step, trainer.since = state["step"], state["since"]
    trainer.model.load_state_dict(state["model"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    trainer.schedule.restore(state["schedule"])
    if trainer.curriculum is not None:
        trainer.curriculum.restore(state["curriculum"])
    torch.set_rng_state(state["random"])
    if _on_gpu(trainer) and state.get("random_of_device") is not None:
        torch.cuda.set_rng_state(state["random_of_device"], trainer.world.device)
    trainer.sums.copy_(state["sums"])
    for batches in (trainer.train, trainer.validation):
        batches.corrupt.remember(state["corrupt"])
    trainer.history = [Point(**point) for point in state["history"]]
    trainer.curriculum_history = [CurriculumPoint(**point) for point in state["curriculum_history"]]
    trainer.best_loss, trainer.best_step, trainer.best = state["best_loss"], state["best_step"], state["best"]


def _on_gpu(trainer: Trainer) -> bool:
    return trainer.world.device.type == "cuda"


def claim(directory: Path, params: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Say in `directory` what its run depends on, or check that the run begun there depends on the same.

    The caller holds the lock of `directory`.

    Args:
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
    begun = read_json(path) if path.is_file() else {}
    changed = [f"{name} was {_short(was)} and is {_short(new)}" for name, was, new in _differences(begun, now)]
    if changed:
        raise UserError(
            f"{directory}: the run begun here cannot go on: {'; '.join(changed)}. Change it back or delete {directory} "
            "to start anew"
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
