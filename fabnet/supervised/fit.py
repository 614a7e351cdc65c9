"""Training of one network on all tasks of a labelled set: its crops, its losses, its predictions for the test faces."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fabnet.attributes.sets import LabelledSet
from fabnet.config import SuperviseParams
from fabnet.errors import UserError
from fabnet.frames.augment import to_float
from fabnet.probing.heads import inverse_frequencies
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import REGRESSION, Problem
from fabnet.supervised.vgg11 import Vgg11
from fabnet.training import checkpoint
from fabnet.training.world import autocast, warn_of_emulation

#: What becomes point i of a mirrored face: the point of the other side (iBUG's 68; eyes, nose, corners of the mouth).
_PARTNERS = {
    "landmarks68": np.array(
        [
            *range(16, -1, -1),  # jaw
            *range(26, 16, -1),  # brows
            *range(27, 31),  # bridge of the nose
            *range(35, 30, -1),  # nostrils
            *(45, 44, 43, 42, 47, 46),  # right eye
            *(39, 38, 37, 36, 41, 40),  # left eye
            *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # lips, outside
            *(64, 63, 62, 61, 60, 67, 66, 65),  # lips, inside
        ]
    ),
    "landmarks5": np.array([1, 0, 2, 4, 3]),
}

#: Seconds between checkpoints: a run that is shorter writes none.
_CHECKPOINT_EVERY_S = 60.0


class Crops:
    """Crops of a labelled set at `size` px.

    Args:
        cache_mb: memory for decoded crops. Those of the first rows stay in it; others are decoded every time.
    """

    def __init__(self, labelled: LabelledSet, size: int, cache_mb: int) -> None:
        self.size = size
        self._labelled = labelled
        self._faces = labelled.table()
        kept = min(len(self._faces), cache_mb * 2**20 // (3 * size * size))
        self._kept = np.empty((kept, size, size, 3), dtype=np.uint8)
        self._there = np.zeros(kept, dtype=bool)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The crops of `rows`, RGB (n, size, size, 3)."""
        crops = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        for crop, row in zip(crops, rows.tolist(), strict=True):
            if row < len(self._there) and self._there[row]:
                crop[:] = self._kept[row]
                continue
            crop[:] = self._labelled.crop(next(self._faces.iloc[row : row + 1].itertuples()), self.size)
            if row < len(self._there):
                self._kept[row], self._there[row] = crop, True
        return crops

    def batches(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Each part with its crops; a thread reads the one after it meanwhile. One, since readers may keep state."""
        with ThreadPoolExecutor(1, thread_name_prefix="crops") as reader:
            ahead = reader.submit(self.read, parts[0]) if parts else None
            for number, rows in enumerate(parts):
                assert ahead is not None
                crops = ahead.result()
                if number + 1 < len(parts):
                    ahead = reader.submit(self.read, parts[number + 1])
                yield rows, crops


def mirrored(task: str, labels_NK: Tensor) -> Tensor:
    """The labels (Problem.labels) of the mirror images of faces.

    Points lie in [-1, 1] of the crop, whose middle is the mirror. Roll and yaw turn the other way, whichever way a set
    counts them; pitch, units and classes are the same on both sides.

    Args:
        task: name of the task.
        labels_NK: labels of N faces.
    """
    if task in _PARTNERS:
        points_NP2 = labels_NK.unflatten(1, (-1, 2))[:, torch.from_numpy(_PARTNERS[task]).to(labels_NK.device)]
        return (points_NP2 * points_NP2.new_tensor([-1, 1])).flatten(1)
    if task == "pose":
        return labels_NK * labels_NK.new_tensor([-1, 1, -1])
    return labels_NK


class Objective:
    """The loss of one task: squared error, or cross-entropy weighted by inverse frequency, as the probes have it.

    Angles are scaled by their mean and standard deviation over the training faces, as for the probes. Points are too,
    by the mean of each coordinate and one standard deviation for all: errors of points weigh among each other as they
    did, and the tasks, which share a network, have losses of one order.

    Args:
        train: the rows that tell scale and frequencies; labels of others are only looked at where `loss` is asked to.
    """

    def __init__(self, problem: Problem, train: np.ndarray, device: torch.device) -> None:
        self.problem = problem
        self.labels = torch.from_numpy(problem.labels)
        self.weighting = inverse_frequencies(problem, train).to(device)
        self.shift_K, self.scale_K = torch.zeros(problem.outputs), torch.ones(problem.outputs)
        if problem.loss == REGRESSION:
            known = self.labels[torch.from_numpy(train)]
            self.shift_K = known.mean(dim=0)
            spread_K = known.std(dim=0, correction=0)
            common = spread_K if problem.task == "pose" else spread_K.square().mean().sqrt().expand_as(spread_K)
            self.scale_K = common.clamp_min(1e-6)
        self.device = device

    def loss(self, z_NK: Tensor, rows: np.ndarray, flipped_N: Tensor | None = None) -> Tensor:
        """Mean loss of outputs for the faces `rows`, some of which were mirrored.

        Args:
            z_NK: output of the network.
            rows: of the faces.
            flipped_N: which faces were mirrored; None for none.
        """
        target = self.labels[torch.from_numpy(rows)]
        if flipped_N is not None and target.ndim == 2:
            target = torch.where(flipped_N[:, None], mirrored(self.problem.task, target), target)
        if self.problem.loss == "cross_entropy":
            return functional.cross_entropy(z_NK, target.to(self.device), self.weighting)
        if self.problem.loss == REGRESSION:
            return functional.mse_loss(z_NK, ((target - self.shift_K) / self.scale_K).to(self.device))
        target = target.to(self.device)
        weight = torch.where(target > 0.5, self.weighting[1], self.weighting[0])
        return functional.binary_cross_entropy_with_logits(z_NK, target, weight)

    def prediction(self, z_NK: Tensor) -> np.ndarray:
        """float32 (N, K) as tables.Predictions has them: labels of regressions, log-odds, log-probabilities."""
        if self.problem.loss == "cross_entropy":  # areas compare a class's score between faces
            z_NK = torch.log_softmax(z_NK.float(), dim=1)
        return (z_NK.float().cpu() * self.scale_K + self.shift_K).numpy()


def total_loss(
    objectives: Sequence[Objective], outputs: Mapping[str, Tensor], rows: np.ndarray, flipped_N: Tensor | None
) -> Tensor:
    """The sum over tasks.

    Args:
        objectives: one per task.
        outputs: of the network, by task.
        rows: of the faces.
        flipped_N: which faces were mirrored; None for none.
    """
    losses = [each.loss(outputs[each.problem.task], rows, flipped_N) for each in objectives]
    return torch.stack(losses).sum()


@dataclass(frozen=True)
class FitResult:
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
) -> FitResult:
    """Train on the rows `train`, choose the epoch of each task on `validation`, predict `test`.

    Labels of other rows than `train` and `validation` are never used. All random numbers are a function of seed and
    epoch, so that a run resumes from its checkpoint as if it had never stopped.

    Args:
        crops: of all faces, by row.
        problems: the tasks of the set.
        rows: by split, as evaluate.rows_by_split gives them.
        params: the section `supervise`.
        seed: of this network.
        checkpoint_path: where the state is kept from time to time; a run resumes from a state found there.
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
    return FitResult(predictions, state.epochs, state.validation, state.history)


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
    # Tasks that are best in the same epoch share one pass.
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
