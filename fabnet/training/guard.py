"""What happens when a loss is not finite: no step is taken any more, and a file tells how to see it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from torch import Tensor

from fabnet.errors import UserError
from fabnet.files import atomic_file
from fabnet.training.checkpoint import first_line

if TYPE_CHECKING:
    from fabnet.training.loop import Trainer


class Guard:
    """Holds back the optimiser from the first batch on whose loss is not finite, without waiting for the device.

    Fused optimisers leave out a step where their `found_inf`, which gradient scalers use, is 1. So parameters stay as
    they were when that batch was seen, until somebody asks on the host.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, device: torch.device) -> None:
        self.found = torch.zeros((), device=device)
        self.first = torch.zeros((), dtype=torch.int64, device=device)
        optimiser.grad_scale = None  # type: ignore[attr-defined]
        optimiser.found_inf = self.found  # type: ignore[attr-defined]

    def watch(self, loss: Tensor, step: int) -> None:
        """Take note of a step's loss, before the optimiser's step."""
        new = ~torch.isfinite(loss) & (self.found == 0)
        self.first.add_(new, alpha=step)
        self.found.add_(new)

    @property
    def broken_step(self) -> int | None:
        """The step that was not taken, or None. Waits for the device."""
        return int(self.first) if float(self.found) else None


def give_up(trainer: Trainer, step: int) -> NoReturn:
    """Leave what is needed to see the loss of a step that was not taken again, beside the checkpoint.

    Raises:
        UserError: always.
    """
    where = ""
    if trainer.checkpoint_path is not None:
        path = trainer.checkpoint_path.with_name("not_finite.pt")
        where = f"; {path} holds the weights and the numbers of its samples"
        if trainer.world.first and (problem := _dump(path, trainer, step)):
            where = f"; {path}, which would tell more, could not be written ({problem})"
    raise UserError(
        f"{trainer.title}: the training loss was not finite in step {step}, which was not taken{where}; lower "
        "learning_rate or use precision: fp32"
    )


def _dump(path: Path, trainer: Trainer, step: int) -> str:
    """Write the weights and the samples of a step; why that was not possible, or nothing.

    Running statistics of batch norm have seen the batch; a training step does not look at them.
    """
    first = (step - 1) * trainer.params.batch_size
    numbers = np.arange(first, first + trainer.params.batch_size)
    drawn = trainer.train.draw(numbers)
    facts = {"step": step, "batch": step - 1, "params": trainer.params.model_dump()}
    facts |= {"seed": trainer.train.sampler.seed, "samples": numbers.tolist(), "rows": drawn.rows.tolist()}
    try:
        with atomic_file(path) as temporary:
            torch.save({"model": trainer.model.state_dict(), **facts}, temporary)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        return first_line(error)
    return ""
