"""What changes in the course of a run: the learning rate, and which samples are trained on.

The learning rate falls to zero, to a tenth after a share of the budget, or to a tenth whenever validation stalls. The
curriculum takes samples in the order of their difficulty (Wiles et al. 2018, sec. 4): the loss ranks the samples of a
batch, and those in a window of percentiles are trained on. The window starts at the easier half, [0, 50); whenever
validation stops improving it moves to harder samples, to [40, 90) at last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fabnet.config import CurriculumParams, VariantParams


# An improvement smaller than this share of the best loss does not count.
_THRESHOLD = 1e-4


class Schedule:
    """The factor on the learning rate; its state belongs in the checkpoint."""

    def __init__(self, params: VariantParams) -> None:
        self.kind, self.patience = params.schedule, params.patience
        self.samples, self.batch = params.samples, params.batch_size
        self.warm_up = params.warm_up * params.samples
        self.drop_after = params.drop_at * params.samples
        self.factor = 1.0
        self.best = float("inf")
        self.stalled = 0

    def at(self, samples: int) -> float:
        """Factor on the learning rate after `samples` samples."""
        # The step that is taken counts: a first one at rate 0 would learn nothing from its batch.
        return self._fallen(samples) * (min(1.0, (samples + self.batch) / self.warm_up) if self.warm_up else 1.0)

    def _fallen(self, samples: int) -> float:
        if self.kind == "linear":
            return max(0.0, 1 - samples / self.samples)
        if self.kind == "step":
            return 0.1 if samples >= self.drop_after else 1.0
        return self.factor

    def validated(self, loss: float) -> None:
        """Take note of a validation loss."""
        if loss < self.best * (1 - _THRESHOLD):
            self.best, self.stalled = loss, 0
            return
        self.stalled += 1
        if self.stalled >= self.patience:
            self.factor, self.stalled = self.factor / 10, 0

    def state(self) -> dict[str, Any]:
        return {"factor": self.factor, "best": self.best, "stalled": self.stalled}

    def restore(self, state: dict[str, Any]) -> None:
        self.factor, self.best, self.stalled = state["factor"], state["best"], state["stalled"]


class Window(NamedTuple):
    """Percentiles of the loss between which samples are trained on."""

    low: int
    high: int

    def ranks(self, batch: int) -> tuple[int, int]:
        """First rank and the one after the last, of `batch` samples sorted by loss; at least one sample is in it."""
        first = min(self.low * batch // 100, batch - 1)
        return first, max(self.high * batch // 100, first + 1)


class Curriculum:
    """Which window holds, and when it moves on; all of its state belongs in the checkpoint.

    Attributes:
        number: of the window that holds, from 0.
    """

    def __init__(self, params: CurriculumParams) -> None:
        self.windows = [
            Window(params.shift * number, params.shift * number + params.width) for number in range(params.shifts + 1)
        ]
        self.patience, self.longest = params.patience, params.longest
        self.number = 0
        self.best = math.inf
        self.stalled = 0
        self.began = 0

    @property
    def window(self) -> Window:
        return self.windows[self.number]

    @property
    def finished(self) -> bool:
        """Whether the last window holds: from then on a plateau of validation is the learning rate's affair."""
        return self.number == len(self.windows) - 1

    def validated(self, loss: float, samples: int) -> None:
        """Take note of the loss over all validation samples after `samples` training samples; may move the window.

        Args:
            loss: mean over all validation samples.
            samples: training samples seen so far.
        """
        if self.finished:
            return
        if loss < self.best * (1 - _THRESHOLD):
            self.best, self.stalled = loss, 0
        else:
            self.stalled += 1
        outlasted = self.longest is not None and samples - self.began >= self.longest
        if self.stalled >= self.patience or outlasted:
            self.number, self.stalled, self.began = self.number + 1, 0, samples

    def state(self) -> dict[str, Any]:
        return {"number": self.number, "best": self.best, "stalled": self.stalled, "began": self.began}

    def restore(self, state: dict[str, Any]) -> None:
        self.number, self.best = state["number"], state["best"]
        self.stalled, self.began = state["stalled"], state["began"]


def samples_in_window(losses_B: Tensor, ranks_2: Tensor) -> tuple[Tensor, Tensor]:
    """Samples within the window, as a mask (B,), and the largest loss among them, a scalar.

    Equal losses rank in the order of the batch. Nothing waits for the device.

    Args:
        losses_B: of the global batch.
        ranks_2: first rank and the one after the last, of the samples sorted by loss, as `Window.ranks` gives them.
    """
    order = torch.argsort(losses_B.detach(), stable=True)
    rank = torch.arange(len(order), device=order.device)
    keep_B = torch.zeros_like(losses_B, dtype=torch.bool).scatter_(0, order, (rank >= ranks_2[0]) & (rank < ranks_2[1]))
    # An index that is a tensor of no dimensions would be fetched from the device.
    return keep_B, losses_B.detach()[order[ranks_2[1:] - 1]].squeeze(0)
