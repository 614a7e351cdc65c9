"""The optimiser of a run, which takes its learning rate from a tensor, and what holds it back from a broken step.

A CUDA graph freezes numbers of Python: what changes from step to step is read from memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fabnet.training.muon import Muon

if TYPE_CHECKING:
    from fabnet.config import VariantParams


def rate_on(device: torch.device, value: float) -> Tensor:
    """The learning rate as fused updates read it: in single precision on a GPU, in double on a CPU.

    Args:
        device: of the weights.
        value: at first.
    """
    return torch.tensor(value, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)


def optimiser_of(model: nn.Module, params: VariantParams, rate: Tensor) -> torch.optim.Optimizer:
    """The optimiser of all weights of `model` that are trained.

    Args:
        model: on its device.
        params: name of the optimiser and momentum.
        rate: the learning rate, a scalar from `rate_on`; changes to it are obeyed.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if params.optimiser == "muon":
        return Muon(weights, rate)
    if params.optimiser == "adam":
        return torch.optim.Adam(weights, rate, fused=True, capturable=rate.is_cuda)
    return torch.optim.SGD(weights, rate, momentum=params.momentum, fused=True)


def restore(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over the state of a checkpoint, which may come from another device; the learning rate stays ours.

    Args:
        optimiser: from `optimiser_of`.
        state: of its `state_dict`.
    """
    parts = [optimiser, optimiser.adam] if isinstance(optimiser, Muon) else [optimiser]
    groups = [group for part in parts for group in part.param_groups]
    kept = ("lr", "capturable")
    ours: list[dict[str, Any]] = [{key: group[key] for key in kept if key in group} for group in groups]
    optimiser.load_state_dict(state)
    groups = [group for part in parts for group in part.param_groups]
    for group, own in zip(groups, ours, strict=True):
        group.update(own)


class Guard:
    """Holds back the optimiser from the first batch on whose loss is not finite, without waiting for the device.

    Fused optimisers leave out a step where their `found_inf`, which gradient scalers use, is 1. So parameters stay as
    they were when that batch was seen, until `broken_step` is read on the host.

    Args:
        optimiser: that is held back.
        device: of its weights.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, device: torch.device) -> None:
        self.found = torch.zeros((), device=device)
        self.first = torch.zeros((), dtype=torch.int64, device=device)
        optimiser.grad_scale = None  # type: ignore[attr-defined]
        optimiser.found_inf = self.found  # type: ignore[attr-defined]

    def watch(self, loss: Tensor, step: Tensor) -> None:
        """Take note of a step's loss, before the optimiser's step.

        Args:
            loss: a scalar on the device.
            step: its number, from 1, likewise.
        """
        new = ~torch.isfinite(loss) & (self.found == 0)
        self.first.add_(new * step)
        self.found.add_(new)

    @property
    def broken_step(self) -> int | None:
        """The step that was not taken, or None. Waits for the device."""
        return int(self.first) if float(self.found) else None
