"""Training of one network on all tasks of a labelled set, and its predictions for the test faces."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fabnet.config import SuperviseParams
from fabnet.errors import UserError
from fabnet.frames.augment import to_float
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import Problem
from fabnet.supervised.crops import Crops
from fabnet.supervised.objective import Objective, total_loss
from fabnet.supervised.vgg11 import Vgg11
from fabnet.training import checkpoint
from fabnet.training.precision import autocast, warn_of_emulation

#: Seconds between checkpoints: a run that is shorter writes none.
_CHECKPOINT_EVERY_S = 60.0


@dataclass(frozen=True)
class Fitted:
    """A trained network's answers.

    Attributes:
        predictions: by task, float32 (test faces, K), as tables.Predictions has them.
        epochs: by task, the epoch, from 1, whose weights made them.
        validation: by task, the score there (metrics.selection_score).
        history: of every epoch `epoch`, `loss` (mean of the training batches) and each task's validation score.
    """

    predictions: dict[str, np.ndarray]
    epochs: dict[str, int]
    validation: dict[str, float]
    history: list[dict[str, float]]


@dataclass
class _State:
    """All that the epochs to come depend on, besides the arguments of `fit`."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    epochs: dict[str, int] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    #: Weights on the CPU by the epochs that are the best so far of some task.
    best: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    _PLAIN = ("epochs", "validation", "best", "history")

    def saved(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self._PLAIN}
        trained = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        return {"step": self.epoch, **trained, **plain}

    def restore(self, saved: dict[str, Any]) -> None:
        self.epoch = saved["step"]
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for name in self._PLAIN:
            setattr(self, name, saved[name])

    def validated(self, scores: dict[str, float]) -> None:
        """Keep this epoch's weights for the tasks that it is better for than all before; of equals, the first."""
        better = [task for task, score in scores.items() if score < self.validation.get(task, math.inf)]
        if not better:
            return
        for task in better:
            self.epochs[task], self.validation[task] = self.epoch, scores[task]
        weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        self.best = {epoch: kept for epoch, kept in self.best.items() if epoch in self.epochs.values()}
        self.best[self.epoch] = weights


def fit(
    crops: Crops,
    problems: Sequence[Problem],
    rows: dict[str, np.ndarray],
    params: SuperviseParams,
    seed: int,
    checkpoint_path: Path | None = None,
    on_epoch: Callable[[str], None] = lambda note: None,
) -> Fitted:
    """Train on the rows `train`, choose the epoch of each task on `validation`, predict `test`.

    Labels of other rows than `train` and `validation` are never used. All random numbers are a function of seed and
    epoch, so that a run goes on from its checkpoint as if it had never stopped.

    Args:
        rows: by split, as evaluate.rows_by_split gives them.
        checkpoint_path: where the state is kept from time to time; a state found there is gone on from.
        on_epoch: called after every epoch with a note on it.

    Raises:
        UserError: the loss is not finite, a crop cannot be read, or the checkpoint cannot be written.
    """
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    warn_of_emulation(params.precision, device, "supervise")
    with torch.random.fork_rng(), _threads(params.threads):
        torch.manual_seed(seed)
        outputs = {problem.task: problem.outputs for problem in problems}
        model = Vgg11(crops.size, params.width, outputs, params.batch_norm, params.dropout)
        model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fused = torch.optim.AdamW(
            model.parameters(), params.learning_rate, weight_decay=params.weight_decay, fused=True
        )
        state = _State(model, fused)
        if checkpoint_path is not None and (saved := checkpoint.load(checkpoint_path)):
            state.restore(saved)
        objectives = [Objective(problem, rows["train"], device) for problem in problems]
        written = time.monotonic()
        while state.epoch < params.epochs:
            loss = _epoch(state, crops, objectives, rows["train"], params, seed)
            if not math.isfinite(loss):
                raise UserError(
                    f"supervise: the training loss of epoch {state.epoch} is not finite; lower "
                    "supervise.learning_rate or use supervise.precision: fp32"
                )
            scores = _scores(model, crops, objectives, rows["validation"], params)
            state.validated(scores)
            state.history.append({"epoch": state.epoch, "loss": loss, **scores})
            if checkpoint_path is not None and time.monotonic() - written > _CHECKPOINT_EVERY_S:
                checkpoint.save(checkpoint_path, state.saved())
                written = time.monotonic()
            on_epoch(f"seed {seed}, loss {loss:.3f}")
        predictions = _tested(state, crops, objectives, rows["test"], params)
    return Fitted(predictions, state.epochs, state.validation, state.history)


def _epoch(
    state: _State,
    crops: Crops,
    objectives: Sequence[Objective],
    train: np.ndarray,
    params: SuperviseParams,
    seed: int,
) -> float:
    """One pass over the training faces; the mean loss of its batches."""
    torch.manual_seed(seed * 2**20 + state.epoch)  # of dropout, order and mirroring
    order = train[torch.randperm(len(train)).numpy()]
    # A last batch of a single face has no variance that batch norm could divide by.
    parts = [part for part in _parts(order, params.batch_size) if len(part) > 1]
    steps = params.epochs * len(parts)
    model, device = state.model.train(), objectives[0].device
    total = torch.zeros((), device=device)
    for number, (rows, images) in enumerate(crops.batches(parts)):
        for group in state.optimiser.param_groups:
            group["lr"] = params.learning_rate * (1 - (state.epoch * len(parts) + number) / steps)
        flipped_N = torch.rand(len(rows)) < 0.5 if params.mirror else None
        frames_NCSS = to_float(torch.from_numpy(images).to(device))
        if flipped_N is not None:
            chosen = flipped_N.to(device)[:, None, None, None]
            frames_NCSS = torch.where(chosen, frames_NCSS.flip(-1), frames_NCSS)
            frames_NCSS = frames_NCSS.contiguous(memory_format=torch.channels_last)
        with autocast(params.precision, device):
            outputs = model(frames_NCSS)
        loss = total_loss(objectives, outputs, rows, flipped_N)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        state.optimiser.step()
        total += loss.detach()
    state.epoch += 1
    return float(total) / max(1, len(parts))


@torch.inference_mode()
def _predict(
    model: nn.Module, crops: Crops, objectives: Sequence[Objective], rows: np.ndarray, params: SuperviseParams
) -> dict[str, np.ndarray]:
    """Predictions (n, K) of every task for `rows`."""
    model.eval()
    parts: dict[str, list[np.ndarray]] = {each.problem.task: [] for each in objectives}
    device = objectives[0].device
    for _, images in crops.batches(_parts(rows, params.batch_size)):
        with autocast(params.precision, device):
            outputs = model(to_float(torch.from_numpy(images).to(device)))
        for each in objectives:
            parts[each.problem.task].append(each.prediction(outputs[each.problem.task]))
    return {task: np.concatenate(each) for task, each in parts.items()}


def _scores(
    model: nn.Module, crops: Crops, objectives: Sequence[Objective], validation: np.ndarray, params: SuperviseParams
) -> dict[str, float]:
    predictions = _predict(model, crops, objectives, validation, params)
    return {
        each.problem.task: float(
            selection_score(each.problem.task, predictions[each.problem.task], each.problem.reference(validation))
        )
        for each in objectives
    }


def _tested(
    state: _State, crops: Crops, objectives: Sequence[Objective], test: np.ndarray, params: SuperviseParams
) -> dict[str, np.ndarray]:
    """Predictions for the test faces, each task's by the weights of its epoch."""
    predictions: dict[str, np.ndarray] = {}
    for epoch in sorted(state.best):
        own = [each for each in objectives if state.epochs[each.problem.task] == epoch]
        state.model.load_state_dict(state.best[epoch])
        predictions |= _predict(state.model, crops, own, test, params)
    return predictions


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many threads of PyTorch: sums are rounded in another order by another number of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _parts(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
