"""The paper's probe: batch normalisation, then one linear layer without bias, on embeddings that stay as they are.

All tasks and all seeds of one encoder train in the same pass over its embeddings. Because Adam treats every parameter
by itself, each (task, seed) ends where it would have ended alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fabnet.probing.heads import Head, InputStatistics
from fabnet.probing.metrics import selection_score
from fabnet.probing.problem import Problem

#: Rows of embeddings held at a time when predicting.
_CHUNK = 4096


@dataclass(frozen=True)
class Probe:
    """One task's trained probes of S seeds: what batch norm and layer come to in inference, `weight[s] @ x + bias[s]`.

    `weight` is float32 (S, K, D), `bias` (S, K), `epochs` (S,) the epoch, from 1, each seed was taken from and
    `validation` (S,) its score there (see metrics.selection_score).
    """

    task: str
    weight: np.ndarray
    bias: np.ndarray
    epochs: np.ndarray
    validation: np.ndarray

    def predict(self, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Float32 (S, len(rows), K): labels of regressions, log-odds of units, log-probabilities of classes."""
        return _outputs(self.task, features, rows, self.weight, self.bias)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast probes learn: `learning_rate` falls linearly to zero over the epochs.

    The weights after every `validation_every` epochs, and after the last one, are candidates.
    """

    seeds: int
    epochs: int
    batch_size: int
    learning_rate: float
    validation_every: int


def fit(
    features: np.ndarray,
    problems: Sequence[Problem],
    train: np.ndarray,
    validation: np.ndarray,
    schedule: Schedule,
    on_epoch: Callable[[int], None] = lambda epochs: None,
) -> list[Probe]:
    """Train one probe per task and seed; keep of each the candidate that was best on the validation rows.

    Labels of rows outside `train` and `validation` are never used. Angles are scaled by their mean and standard
    deviation over the training rows while training, so that one learning rate suits all tasks; predictions are in
    degrees again. Units and classes are weighted by inverse frequency in the training rows. A last batch of a single
    row, which has no variance to normalise by, is left out.

    Args:
        features: float32 (N, D); may be memory-mapped, only batches of it are held.
        problems: the tasks, with labels for all N rows.
        train: rows to learn from, at least 2.
        validation: rows to choose the candidate on, at least 1.
        on_epoch: called after an epoch with 1.

    Returns:
        The probes, in the order of `problems`.
    """
    if len(train) < 2 or not len(validation):
        raise ValueError(f"a probe needs 2 training and 1 validation faces, not {len(train)} and {len(validation)}")
    statistics = InputStatistics(schedule.seeds, features.shape[1])
    heads = [Head(problem, features.shape[1], train, schedule.seeds) for problem in problems]
    candidates = [_Best(problem, features, validation, schedule.seeds) for problem in problems]
    parameters = [parameter for head in heads for parameter in head.parameters]
    optimiser = torch.optim.Adam(parameters, lr=schedule.learning_rate, betas=(0.9, 0.999), fused=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(schedule.seeds)]
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, schedule.epochs * _steps(train, schedule))
    for epoch in range(1, schedule.epochs + 1):
        for rows_SB in _batches(train, schedule.batch_size, generators):
            x_SBD = statistics.normalise(torch.from_numpy(features[rows_SB]))
            for head in heads:
                head.backward(x_SBD, torch.from_numpy(rows_SB))
            optimiser.step()
            falling.step()
        if epoch % schedule.validation_every == 0 or epoch == schedule.epochs:
            for head, best in zip(heads, candidates, strict=True):
                best.offer(epoch, *head.inference(statistics))
        on_epoch(1)
    return [best.probe() for best in candidates]


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _outputs(task: str, features: np.ndarray, rows: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    seeds, outputs, dimension = weight.shape
    flat = weight.reshape(seeds * outputs, dimension).T
    chunks = [features[rows[start : start + _CHUNK]] @ flat for start in range(0, len(rows), _CHUNK)]
    z = np.concatenate(chunks).reshape(len(rows), seeds, outputs).swapaxes(0, 1) + bias[:, None]
    # One-vs-rest areas compare a class's score between faces, which needs scores relative to the other classes'.
    return log_softmax(z) if task == "expression" else z


def _steps(train: np.ndarray, schedule: Schedule) -> int:
    """Batches of an epoch."""
    return -(-len(train) // schedule.batch_size)


def _batches(train: np.ndarray, batch_size: int, generators: Sequence[torch.Generator]) -> Iterator[np.ndarray]:
    """An epoch of rows (S, B), each seed in its own order."""
    order = np.stack([torch.randperm(len(train), generator=generator).numpy() for generator in generators])
    for start in range(0, len(train), batch_size):
        rows = train[order[:, start : start + batch_size]]
        if rows.shape[1] > 1:
            yield rows


class _Best:
    """The best weights so far of each seed of one task, by the validation rows; of equally good epochs, the first."""

    def __init__(self, problem: Problem, features: np.ndarray, validation: np.ndarray, seeds: int) -> None:
        self.task, self.features, self.rows = problem.task, features, validation
        self.reference = problem.reference(validation)
        self.score = np.full(seeds, np.inf)
        self.epochs = np.zeros(seeds, dtype=np.int64)
        self.weight: np.ndarray = np.zeros((seeds, problem.outputs, features.shape[1]), dtype=np.float32)
        self.bias: np.ndarray = np.zeros((seeds, problem.outputs), dtype=np.float32)

    def offer(self, epoch: int, weight: np.ndarray, bias: np.ndarray) -> None:
        outputs = _outputs(self.task, self.features, self.rows, weight, bias)
        score = selection_score(self.task, outputs, self.reference)
        if not np.isfinite(score).all():
            raise ValueError(f"{self.task}: the validation score of epoch {epoch} is not finite: {score.tolist()}")
        better = score < self.score
        self.weight[better], self.bias[better] = weight[better], bias[better]
        self.score[better], self.epochs[better] = score[better], epoch

    def probe(self) -> Probe:
        return Probe(self.task, self.weight, self.bias, self.epochs, self.score)
