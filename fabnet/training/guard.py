"""What happens when a loss is not finite: no step is taken any more, and a file tells how to see it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fabnet.files import atomic_file


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


def dump(path: Path, model: nn.Module, **facts: Any) -> None:
    """Write the weights and whatever else a replay needs; running statistics of batch norm have seen the batch."""
    with atomic_file(path) as temporary:
        torch.save({"model": model.state_dict(), **facts}, temporary)
