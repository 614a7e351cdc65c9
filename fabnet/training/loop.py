"""The training loop: fetch a batch, forward and backward, step; validate, log and checkpoint on their own beats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fabnet.errors import UserError
from fabnet.progress import Progress
from fabnet.training import checkpoint
from fabnet.training.batches import Batches
from fabnet.training.objective import reconstruction_loss
from fabnet.training.schedule import Schedule

if TYPE_CHECKING:
    from fabnet.config import VariantParams

LOG_EVERY = 50  # steps between points of the training curve


@dataclass
class Point:
    """One point of a learning curve; `loss` is the mean over the samples since the point before."""

    step: int
    samples: int
    split: str
    loss: float
    learning_rate: float


@dataclass
class Result:
    """Weights are state dicts on the CPU; `best` had the lowest validation loss."""

    history: list[Point]
    best: dict[str, Tensor]
    last: dict[str, Tensor]
    best_step: int = 0
    best_loss: float = math.inf


@dataclass
class Trainer:
    """Trains `model` on `train` for `params.samples` samples.

    Args:
        model: maps views (V, B, 3, H, W) to generated targets.
        train, validation: batches; validation draws the same samples every time.
        params: the variant's values.
        checkpoint_path: where resumable state is kept; None keeps none.
    """

    model: nn.Module
    train: Batches
    validation: Batches
    params: VariantParams
    device: torch.device
    checkpoint_path: Path | None = None
    on_point: Callable[[Point], None] = lambda _: None
    title: str = "train"

    step: int = 0
    history: list[Point] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = self._optimiser()
        self.schedule = Schedule(self.params)
        self.steps = math.ceil(self.params.samples / self.params.batch_size)
        self._validate_every = max(1, self.params.validation_every // self.params.batch_size)
        self._checkpoint_every = max(1, self.params.checkpoint_every // self.params.batch_size)

    def _optimiser(self) -> torch.optim.Optimizer:
        if self.params.optimiser == "adam":
            return torch.optim.Adam(self.model.parameters(), self.params.learning_rate, fused=True)
        return torch.optim.SGD(
            self.model.parameters(), self.params.learning_rate, momentum=self.params.momentum, fused=True
        )

    def run(self) -> Result:
        """Train to the end of the budget, from the checkpoint if there is one.

        Raises:
            UserError: the loss is not finite; the last checkpoint is from before that.
        """
        self._resume()
        losses = torch.zeros((), device=self.device)
        since = self.step
        with Progress(self.title, self.steps * self.params.batch_size, "samples", done=self._samples) as progress:
            for views in self.train.iterate(self.step, self.steps):
                losses += self._train_step(views)
                self.step += 1
                logs = self.step % LOG_EVERY == 0 or self.step == self.steps
                validates = self.step % self._validate_every == 0 or self.step == self.steps
                saves = self.step % self._checkpoint_every == 0 or self.step == self.steps
                # One transfer from the device per point, none per step; and none of what follows on a broken model.
                if logs or validates or saves:
                    loss = self._finite(float(losses) / (self.step - since), "training")
                    self._point("train", loss)
                    losses.zero_()
                    since = self.step
                    progress.advance(0, f"loss {loss:.4f}")
                if validates:
                    self._validated(self.validate())
                if saves:
                    self._save()
                progress.advance(self.params.batch_size)
        return Result(self.history, self.best, self._weights(), self.best_step, self.best_loss)

    def _train_step(self, views_VBCHW: Tensor) -> Tensor:
        """Forward, backward and one step of the optimiser; the mean loss, still on the device."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._losses(views_VBCHW).mean()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _losses(self, views_VBCHW: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16"):
            generated_BCHW = self.model(views_VBCHW)
        return reconstruction_loss(generated_BCHW, views_VBCHW[0])

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over all validation samples."""
        self.model.eval()
        total = 0.0
        left = self.params.validation_samples
        for number in range(math.ceil(left / self.validation.batch_size)):
            size = min(left, self.validation.batch_size)
            views = self.validation.finish(*self.validation.load(number, size))
            total += float(self._losses(views).sum())
            left -= size
        return self._finite(total / self.params.validation_samples, "validation")

    def _validated(self, loss: float) -> None:
        self._point("validation", loss)
        self.schedule.validated(loss)
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.best = loss, self.step, self._weights()

    @property
    def _samples(self) -> int:
        return self.step * self.params.batch_size

    @property
    def _learning_rate(self) -> float:
        return self.params.learning_rate * self.schedule.at(self._samples)

    def _point(self, split: str, loss: float) -> None:
        point = Point(self.step, self._samples, split, loss, self.optimiser.param_groups[0]["lr"])
        self.history.append(point)
        self.on_point(point)

    def _finite(self, loss: float, split: str) -> float:
        if not math.isfinite(loss):
            raise UserError(
                f"{self.title}: the {split} loss became {loss} before step {self.step}; lower learning_rate or use "
                "precision: fp32"
            )
        return loss

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, value in self.model.state_dict().items()
        }

    def _save(self) -> None:
        if self.checkpoint_path is None:
            return
        state: dict[str, Any] = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state(),
            "history": [vars(point) for point in self.history],
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "best": self.best,
        }
        checkpoint.save(self.checkpoint_path, state)

    def _resume(self) -> None:
        state = checkpoint.load(self.checkpoint_path) if self.checkpoint_path is not None else None
        if state is None:
            return
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.restore(state["schedule"])
        self.history = [Point(**point) for point in state["history"]]
        self.best_loss, self.best_step, self.best = state["best_loss"], state["best_step"], state["best"]
