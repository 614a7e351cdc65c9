"""The training loop: fetch a batch, forward and backward, step; validate, log and checkpoint on their own beats."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fabnet.errors import UserError
from fabnet.networks.decoder import Decoder
from fabnet.networks.fabnet import FabNet
from fabnet.progress import Progress
from fabnet.training import checkpoint
from fabnet.training.batch_norm import synchronised
from fabnet.training.batches import Batch, Batches
from fabnet.training.curriculum import Curriculum, select
from fabnet.training.guard import Guard, give_up
from fabnet.training.history import CurriculumPoint, Point
from fabnet.training.muon import Muon
from fabnet.training.objective import LOSSES, every_view_loss
from fabnet.training.precision import autocast, warn_of_emulation
from fabnet.training.resume import restore, state_of
from fabnet.training.schedule import Schedule
from fabnet.training.stop import EXIT_CODE, StopOnTerm
from fabnet.training.world import World

if TYPE_CHECKING:
    from fabnet.config import VariantParams

LOG_EVERY = 50  # steps between points of the training curve
_ASK_EVERY = 10  # steps between questions to the other processes whether one of them has to stop


@dataclass
class Result:
    """Weights are state dicts on the CPU; `best` had the lowest validation loss. `curriculum` is empty without one."""

    history: list[Point]
    curriculum: list[CurriculumPoint]
    best: dict[str, Tensor]
    last: dict[str, Tensor]
    best_step: int = 0
    best_loss: float = math.inf


@dataclass
class Trainer:
    """Trains `model` on `train` for `params.samples` samples.

    Args:
        model: maps views (V, B, 3, H, W), and the mask of those that are no padding, to what its loss compares with the
            targets; in LOSSES, by `params.objective`.
        train, validation: batches; validation draws the same samples every time.
        params: the variant's values.
        world: the processes that train together; every one has a trainer of the same arguments.
        checkpoint_path: where resumable state is kept; None keeps none.
    """

    model: nn.Module
    train: Batches
    validation: Batches
    params: VariantParams
    world: World = field(default_factory=World)
    checkpoint_path: Path | None = None
    on_point: Callable[[Point], None] = lambda _: None
    title: str = "train"

    step: int = 0
    history: list[Point] = field(default_factory=list)
    curriculum_history: list[CurriculumPoint] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.params.freeze:
            # Its batch norm goes on taking statistics, as in the released code, which sets the learning rate to 0.
            self.model.get_submodule(name).requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, Decoder):
                module.factored = self.params.decoder == "factored"
        if isinstance(self.model, FabNet):
            self.model.every_view = self.params.views is not None
        self.model.to(self.world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = self._network()
        self.optimiser = self._optimiser()
        self.guard = Guard(self.optimiser, self.world.device)
        self.schedule = Schedule(self.params)
        self.curriculum = Curriculum(self.params.curriculum) if self.params.curriculum is not None else None
        # Sums over the steps since step `since`: loss of all samples, loss of those learnt from, threshold.
        self.sums, self.since = torch.zeros(3, device=self.world.device), 0
        self.steps = math.ceil(self.params.samples / self.params.batch_size)
        self._validate_every = max(1, self.params.validation_every // self.params.batch_size)
        self._checkpoint_every = max(1, self.params.checkpoint_every // self.params.batch_size)

    def _network(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """What a training step calls: the model, compiled and joined with those of the other processes."""
        if self.params.sync_batch_norm and self.world.size > 1:
            self.model = synchronised(self.model, self.world.device)
        network: Any = torch.compile(self.model) if self.params.compile else self.model
        if self.world.size > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the option's new name is younger than torch 2.7
                network = DistributedDataParallel(network, broadcast_buffers=False)
        call: Callable[[Tensor, Tensor | None], Tensor] = network
        return call

    def _optimiser(self) -> torch.optim.Optimizer:
        weights = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if self.params.optimiser == "muon":
            return Muon(weights, self.params.learning_rate)
        if self.params.optimiser == "adam":
            return torch.optim.Adam(weights, self.params.learning_rate, fused=True)
        return torch.optim.SGD(weights, self.params.learning_rate, momentum=self.params.momentum, fused=True)

    def run(self) -> Result:
        """Train to the end of the budget, from the checkpoint if there is one. SIGTERM checkpoints and exits.

        Raises:
            UserError: the loss is not finite; a file beside the checkpoint, which is from before that, tells all.
        """
        self._resume()
        if self.world.first:
            warn_of_emulation(self.params.precision, self.world.device, self.title)
        progress = Progress(
            self.title, self.steps * self.params.batch_size, "samples", done=self._samples, silent=not self.world.first
        )
        with StopOnTerm() as stop, progress:
            for batch in self.train.iterate(self.step, self.steps):
                self._train_step(batch)
                self.step += 1
                logs = self.step % LOG_EVERY == 0 or self.step == self.steps
                validates = self.step % self._validate_every == 0 or self.step == self.steps
                saves = self.step % self._checkpoint_every == 0 or self.step == self.steps
                # One transfer from the device per point, none per step; and none of what follows on a broken model.
                if logs or validates or saves:
                    progress.advance(0, f"loss {self._logged():.4f}")
                if validates:
                    self._validated(self.validate())
                stops = self._agreed(stop)
                if saves or stops:
                    self._save()
                if stops:
                    self._say(f"stopped by SIGTERM after step {self.step}; run it again to go on")
                    sys.exit(EXIT_CODE)
                progress.advance(self.params.batch_size)
        weights = {"best": self.best, "last": self._weights()}
        return Result(
            self.history, self.curriculum_history, **weights, best_step=self.best_step, best_loss=self.best_loss
        )

    def _train_step(self, batch: Batch) -> Tensor:
        """Forward, backward and one step of the optimiser; the mean loss of all samples, still on the device."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        losses_b = self._losses(self.network, batch)
        if self.world.size == 1 and self.curriculum is None:
            minimised = losses_b.mean()
            loss = minimised.detach()
            self.sums[0] += loss
        else:
            loss, minimised = self._shared_loss(losses_b)
        minimised.backward()
        self.guard.watch(loss, self.step + 1)
        self.optimiser.step()
        return loss

    def _shared_loss(self, losses_b: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of the global batch, and what this process minimises: the mean over processes of the latter,
        which is what they step along, is the mean loss of the samples learnt from."""
        batch = self.params.batch_size
        losses_B = self.world.gather(losses_b.detach(), batch)
        loss = losses_B.mean()
        if self.curriculum is None:
            self.sums[0] += loss
            return loss, losses_b.sum() * (self.world.size / batch)
        first, end = self.curriculum.window.ranks(batch)
        keep_B, threshold = select(losses_B, self.curriculum.window)
        kept = losses_B.where(keep_B, 0).sum() / (end - first)
        self.sums += torch.stack((loss, kept, threshold))
        here = self.world.share(np.arange(batch))
        keep_b = keep_B[here[0] : here[-1] + 1]
        return loss, losses_b.where(keep_b, 0).sum() * (self.world.size / (end - first))

    def _losses(self, network: Callable[[Tensor, Tensor | None], Tensor], batch: Batch) -> Tensor:
        with autocast(self.params.precision, self.world.device):
            output = network(batch.views, batch.mask)
        if self.params.views is not None:
            return every_view_loss(output, batch.views, batch.mask)
        return LOSSES[self.params.objective](output, batch.views[0])

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over all validation samples, whatever the curriculum."""
        self.world.average_buffers(self.model)
        self.model.eval()
        total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        samples = self.params.validation_samples
        for batch in self.validation.iterate(0, math.ceil(samples / self.validation.batch_size), samples):
            if len(batch.numbers):
                total += self._losses(self.model, batch).sum()
        return self._finite(float(self.world.sum(total)) / samples, "validation")

    def _validated(self, loss: float) -> None:
        self._point("validation", loss)
        # The learning rate drops only once the curriculum has come to its last window.
        if self.curriculum is None or self.curriculum.finished:
            self.schedule.validated(loss)
        else:
            self.curriculum.validated(loss, self._samples)
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.best = loss, self.step, self._weights()

    @property
    def _samples(self) -> int:
        return self.step * self.params.batch_size

    @property
    def _learning_rate(self) -> float:
        return self.params.learning_rate * self.schedule.at(self._samples)

    def _logged(self) -> float:
        """Close the stretch since the point before; its mean loss."""
        if (broken := self.guard.broken_step) is not None:
            give_up(self, broken)
        steps = self.step - self.since
        loss, kept, threshold = (value / steps for value in self.sums.tolist())
        self._point("train", loss)
        if self.curriculum is not None:
            window, (first, end) = self.curriculum.window, self.curriculum.window.ranks(self.params.batch_size)
            where = (self.step, self._samples, self.curriculum.number, *window)
            self.curriculum_history.append(CurriculumPoint(*where, threshold, steps * (end - first), kept))
        self.sums.zero_()
        self.since = self.step
        return loss

    def _point(self, split: str, loss: float) -> None:
        point = Point(self.step, self._samples, split, loss, self.optimiser.param_groups[0]["lr"])
        self.history.append(point)
        if self.world.first:
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

    def _agreed(self, stop: StopOnTerm) -> bool:
        """Whether all processes stop after this step."""
        if self.world.size == 1:
            return stop.asked
        return self.step % _ASK_EVERY == 0 and self.world.any(stop.asked)

    def _say(self, line: str) -> None:
        if self.world.first:
            print(f"{self.title}: {line}", file=sys.stderr, flush=True)

    def _save(self) -> None:
        self.world.average_buffers(self.model)
        self.train.corrupt.remember(self.world.union(self.train.corrupt.rows))
        if self.checkpoint_path is not None and self.world.first:
            checkpoint.save(self.checkpoint_path, state_of(self))

    def _resume(self) -> None:
        """Go on from the checkpoint that the first process chooses."""
        if self.checkpoint_path is None:
            return
        state = checkpoint.load(self.checkpoint_path) if self.world.first else None
        step = self.world.told(0 if state is None else state["step"])
        if step:
            restore(self, state or checkpoint.load_at(self.checkpoint_path, step))
