"""The training loop: fetch a batch, forward and backward, step; validate, log and checkpoint at their own intervals."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from fabnet.errors import UserError, first_line
from fabnet.files import atomic_file
from fabnet.networks.decoder import Decoder
from fabnet.networks.fabnet import FabNet
from fabnet.progress import Progress
from fabnet.training import checkpoint
from fabnet.training.batches import Batches, LoadedBatch
from fabnet.training.history import CurriculumPoint, Point, told
from fabnet.training.memory import held_by, too_small
from fabnet.training.objective import copying_loss
from fabnet.training.schedule import Curriculum, Schedule
from fabnet.training.step import TrainingStep
from fabnet.training.world import World, warn_of_emulation

if TYPE_CHECKING:
    from fabnet.config import VariantParams

logger = logging.getLogger(__name__)

LOG_EVERY = 50  # steps between points of the training curve
_ASK_EVERY = 10  # steps between questions to the other processes whether one of them has to stop
EXIT_CODE = 128 + signal.SIGTERM


class StopOnTerm:
    """SIGTERM handler: sets `asked`, and the loop exits at the next step boundary.

    Threads other than the main one may not set handlers: there it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> StopOnTerm:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


@dataclass
class Result:
    """Weights are state dicts on the CPU; `best` had the lowest validation loss. `curriculum` is empty without one.

    `copying` is the loss of moving no pixel on the validation samples, None where the objective has none.
    """

    history: list[Point]
    curriculum: list[CurriculumPoint]
    best: dict[str, Tensor]
    last: dict[str, Tensor]
    best_step: int = 0
    best_loss: float = math.inf
    copying: float | None = None


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
    copying: float | None = None

    def __post_init__(self) -> None:
        for name in self.params.freeze:
            # Its batch norm keeps updating its statistics, as in the released code, which sets the learning rate to 0.
            self.model.get_submodule(name).requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, Decoder):
                module.factored = self.params.decoder == "factored"
        if isinstance(self.model, FabNet):
            self.model.every_view = self.params.views is not None
        if self.params.sync_batch_norm and self.world.size > 1:
            if not self._on_gpu:
                raise UserError(f"{self.title}: sync_batch_norm needs GPUs; set it to false to train on the CPU")
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.model.to(self.world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.training = TrainingStep(self.model, self.train, self.params, self.world, self.title)
        self.schedule = Schedule(self.params)
        self.curriculum = Curriculum(self.params.curriculum) if self.params.curriculum is not None else None
        self._kept: tuple[Path, int] | None = None  # the last checkpoint and its step
        self.since = 0  # the step since which losses are summed
        self.steps = math.ceil(self.params.samples / self.params.batch_size)
        self._validate_every = max(1, self.params.validation_every // self.params.batch_size)
        self._checkpoint_every = max(1, self.params.checkpoint_every // self.params.batch_size)

    def run(self) -> Result:
        """Train to the end of the budget, from the checkpoint if there is one. SIGTERM checkpoints and exits.

        Raises:
            UserError: the loss is not finite; a file beside the checkpoint, which is from before that, tells all. Or
                the GPU's memory is too small.
        """
        self._resume()
        if self.step == 0:
            self._check_start()
        if self.world.first:
            warn_of_emulation(self.params.precision, self.world.device, self.title)
        progress = Progress(
            self.title, self.steps * self.params.batch_size, "samples", done=self._samples, silent=not self.world.first
        )
        with self._memory_enough(), StopOnTerm() as stop, progress:
            for loaded in self.train.iterate(self.step, self.steps):
                self._train_step(loaded)
                self.step += 1
                logs = self.step % LOG_EVERY == 0 or self.step == self.steps
                validates = self.step % self._validate_every == 0 or self.step == self.steps
                saves = self.step % self._checkpoint_every == 0 or self.step == self.steps
                # One transfer from the device per point, none per step; and none of what follows on a broken model.
                if logs or validates or saves:
                    loss = self._log()
                    if validates:
                        self._after_validation(self.validate())
                    progress.advance(0, self._note(loss))
                # After validation, so that a checkpoint at this step holds it and a resumed run does not repeat it.
                stops = self._should_stop(stop)
                if saves or stops:
                    self._save()
                if stops:
                    self._say(f"stopped by SIGTERM after step {self.step}; run it again to resume")
                    sys.exit(EXIT_CODE)
                progress.advance(self.params.batch_size)
        weights = {"best": self.best, "last": self._weights()}
        return Result(
            self.history,
            self.curriculum_history,
            **weights,
            best_step=self.best_step,
            best_loss=self.best_loss,
            copying=self.copying,
        )

    @torch.no_grad()
    def _check_start(self) -> None:
        """Refuse weights whose loss is not finite before a step is taken: no learning rate would help them."""
        self.model.eval()
        total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        for loaded in self.validation.iterate(0, 1, self.params.validation_samples):
            if len(loaded.numbers):
                total += self.training.losses(self.model, self.validation.finish(loaded)).minimised.sum()
        loss = float(self.world.sum(total))
        if not math.isfinite(loss):
            start = self.params.start_from
            cure = "lower histograms" if start is None else f"train {start}, whose weights it starts from, again"
            raise UserError(f"{self.title}: the loss is {loss} before training begins; {cure}")

    @contextmanager
    def _memory_enough(self) -> Iterator[None]:
        """Turn a GPU's lack of memory into a line that says what to do."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            frames = held_by([self.train.frames, self.validation.frames])
            problem = too_small(error, self.params, frames, self.world.device, self._kept)
            raise UserError(f"{self.title}: step {self.step + 1}: {problem}") from None

    def _train_step(self, loaded: LoadedBatch) -> Tensor:
        """One step; the mean loss of all its samples, still on the device."""
        window = None if self.curriculum is None else self.curriculum.window
        return self.training.take(loaded, self.step + 1, self._learning_rate, window)

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over all validation samples, whatever the curriculum."""
        self.world.average_buffers(self.model)
        self.model.eval()
        total, copying = torch.zeros((2,), dtype=torch.float64, device=self.world.device)
        samples = self.params.validation_samples
        # The same samples every time, a frame that cannot be decoded included: once is enough.
        compares = self.copying is None and self.params.objective == "fabnet"
        for loaded in self.validation.iterate(0, math.ceil(samples / self.validation.batch_size), samples):
            if len(loaded.numbers):
                batch = self.validation.finish(loaded)
                total += self.training.losses(self.model, batch).told.sum()
                if compares:
                    every_view = self.params.views is not None
                    copying += copying_loss(batch.views, batch.mask, self.params.sources > 1, every_view).sum()
        if compares:
            self.copying = float(self.world.sum(copying)) / samples
        return self._finite(float(self.world.sum(total)) / samples, "validation")

    def _after_validation(self, loss: float) -> None:
        self._point("validation", loss, self.copying)
        self._warn_of_copying(self.history[-1])
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

    def _log(self) -> float:
        """Add a point to the training curve: the mean loss since the point before, which is returned."""
        if (broken := self.training.guard.broken_step) is not None:
            self._give_up(broken)
        self.train.check()
        steps = self.step - self.since
        loss, kept, threshold = (value / steps for value in self.training.sums.tolist())
        self._point("train", loss)
        if self.curriculum is not None:
            window, (first, end) = self.curriculum.window, self.curriculum.window.ranks(self.params.batch_size)
            where = (self.step, self._samples, self.curriculum.number, *window)
            self.curriculum_history.append(CurriculumPoint(*where, threshold, steps * (end - first), kept))
        self.training.sums.zero_()
        self.since = self.step
        return loss

    def _note(self, loss: float) -> str:
        """For the line of progress: the training loss, and how far the last validation is below copying."""
        validated = next((point for point in reversed(self.history) if point.split == "validation"), None)
        share = validated.below_copying if validated is not None else None
        return f"loss {loss:.4f}" + (f", {told(share)}" if share is not None else "")

    def _warn_of_copying(self, point: Point) -> None:
        """Say that the network still copies: at the validation after `copying.at` of the budget, and at the last one.

        Args:
            point: of a validation.
        """
        share, limit = point.below_copying, self.params.copying
        if share is None or share >= limit.share or not self.world.first:
            return
        due = limit.at * self.params.samples
        before = [each.samples for each in self.history[:-1] if each.split == "validation"]
        first = point.samples >= due and not (before and before[-1] >= due)
        if first or self.step == self.steps:
            without = "no `curriculum` before it has stopped copying, " if self.curriculum is not None else ""
            logger.warning(
                f"{self.title}: it still copies: after {point.samples} of {self.params.samples} samples its validation "
                f"loss, {point.loss:.4f}, is {told(share)}, {point.copying:.4f}, and should be {100 * limit.share:g} % "
                f"below. What helps: {without}a higher learning_rate, harder pairs (a lower extract.fps, longer "
                "tracks), more samples"
            )

    def _point(self, split: str, loss: float, copying: float | None = None) -> None:
        point = Point(self.step, self._samples, split, loss, self.training.rate, copying)
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

    def _should_stop(self, stop: StopOnTerm) -> bool:
        """Whether all processes stop after this step."""
        if self.world.size == 1:
            return stop.asked
        return self.step % _ASK_EVERY == 0 and self.world.any(stop.asked)

    def _say(self, line: str) -> None:
        if self.world.first:
            logger.info(f"{self.title}: {line}")

    def _save(self) -> None:
        self.world.average_buffers(self.model)
        self.train.corrupt.remember(self.world.union(self.train.corrupt.rows))
        if self.checkpoint_path is not None and self.world.first:
            checkpoint.save(self.checkpoint_path, self.state_dict())
            self._kept = self.checkpoint_path, self.step

    def state_dict(self) -> dict[str, Any]:
        """What the steps to come depend on, and the whole history; `load_state_dict` takes it back.

        There is no gradient scaler in it: bfloat16 has the range of float32.
        """
        return {
            "step": self.step,  # also the sampler's position: batches are a function of their number
            "model": self.model.state_dict(),
            "optimiser": self.training.optimiser.state_dict(),
            "schedule": self.schedule.state(),
            "curriculum": None if self.curriculum is None else self.curriculum.state(),
            "random": torch.get_rng_state(),
            "random_of_device": torch.cuda.get_rng_state(self.world.device) if self._on_gpu else None,
            "sums": self.training.sums,
            "since": self.since,
            "corrupt": sorted({*self.train.corrupt.rows, *self.validation.corrupt.rows}),
            "history": [vars(point) for point in self.history],
            "curriculum_history": [vars(point) for point in self.curriculum_history],
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "best": self.best,
            "copying": self.copying,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the trainer was that `state` comes from."""
        self.step, self.since = state["step"], state["since"]
        self.model.load_state_dict(state["model"])
        self.training.restore(state["optimiser"], state["sums"])
        self.schedule.restore(state["schedule"])
        if self.curriculum is not None:
            self.curriculum.restore(state["curriculum"])
        torch.set_rng_state(state["random"])
        # A checkpoint written on a CPU has no state of a device; a run that moves to one is not bit for bit the same.
        if self._on_gpu and state.get("random_of_device") is not None:
            torch.cuda.set_rng_state(state["random_of_device"], self.world.device)
        for batches in (self.train, self.validation):
            batches.corrupt.remember(state["corrupt"])
        self.history = [Point(**point) for point in state["history"]]
        self.curriculum_history = [CurriculumPoint(**point) for point in state["curriculum_history"]]
        self.best_loss, self.best_step, self.best = state["best_loss"], state["best_step"], state["best"]
        self.copying = state["copying"]

    @property
    def _on_gpu(self) -> bool:
        return self.world.device.type == "cuda"

    def _give_up(self, step: int) -> NoReturn:
        """End the run with what reproduces the loss of `step`, a step that was not taken, beside the checkpoint.

        Raises:
            UserError: always.
        """
        where = ""
        if self.checkpoint_path is not None:
            path = self.checkpoint_path.with_name("not_finite.pt")
            where = f"; {path} holds the weights and the numbers of its samples"
            if self.world.first and (problem := self._dump(path, step)):
                where = f"; {path}, which would tell more, could not be written ({problem})"
        raise UserError(
            f"{self.title}: the training loss was not finite in step {step}, which was not taken{where}; lower "
            "learning_rate or use precision: fp32"
        )

    def _dump(self, path: Path, step: int) -> str:
        """Write the weights and the samples of a step. Returns why that failed, or "".

        Running statistics of batch norm have seen the batch; a training step does not read them.
        """
        first = (step - 1) * self.params.batch_size
        numbers = np.arange(first, first + self.params.batch_size)
        drawn = self.train.draw(torch.from_numpy(numbers))
        facts = {"step": step, "batch": step - 1, "params": self.params.model_dump()}
        facts |= {"seed": self.train.sampler.seed, "samples": numbers.tolist(), "rows": drawn.rows.tolist()}
        try:
            with atomic_file(path) as temporary:
                torch.save({"model": self.model.state_dict(), **facts}, temporary)
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            return first_line(error)
        return ""

    def _resume(self) -> None:
        """Go on from the checkpoint that the first process chooses."""
        if self.checkpoint_path is None:
            return
        state = checkpoint.load(self.checkpoint_path) if self.world.first else None
        step = self.world.broadcast(0 if state is None else state["step"])
        if step:
            self.load_state_dict(state or checkpoint.load_at(self.checkpoint_path, step))
            self._kept = self.checkpoint_path, step
