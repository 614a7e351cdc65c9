"""The learning rate over a run: falling to zero, a tenth after a share of the budget, or whenever validation stalls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabnet.config import VariantParams

# An improvement smaller than this share of the best loss does not count.
_THRESHOLD = 1e-4


class Schedule:
    """Holds the factor on the learning rate; its state belongs in the checkpoint."""

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
