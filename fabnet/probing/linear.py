"""The paper's probe: batch normalisation, then one linear layer without bias, on embeddings that stay as they are.

All tasks and all seeds of one encoder train in the same pass over its embeddings. Because Adam treats every parameter
by itself, each (task, seed) ends where it would have ended alone, up to rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fabnet.probing.embeddings import is_large, rows_of_features
from fabnet.probing.heads import Heads, InputStatistics
from fabnet.probing.metrics import absent_columns, selection_score
from fabnet.probing.probe import Probe, answers, outputs
from fabnet.probing.problem import REGRESSION, Problem

if TYPE_CHECKING:
    from fabnet.config import ProbeParams

#: Rows of a large memory-mapped file are shuffled in blocks of so many: a system maps kilobytes around each row that is
#: read alone.
_BLOCK = 32


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


def schedule_of(params: "ProbeParams") -> Schedule:
    """The schedule that the section `probe` of params.yaml asks for."""
    keys = ("seeds", "epochs", "batch_size", "learning_rate", "validation_every")
    return Schedule(**{key: getattr(params, key) for key in keys})


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
        train: rows to learn from, at least 2: (n,), or (S, n) for seeds that learn from rows of their own.
        validation: rows to choose the candidate on, at least 1.
        schedule: seeds, epochs, batches and learning rates.
        on_epoch: called after an epoch with 1.

    Returns:
        The probes, in the order of `problems`.
    """
    train_SN = np.tile(train, (schedule.seeds, 1)) if train.ndim == 1 else train
    if train_SN.shape[1] < 2 or not len(validation):
        raise ValueError(
            f"a probe needs 2 training and 1 validation faces, not {train_SN.shape[1]} and {len(validation)}"
        )
    statistics = InputStatistics(schedule.seeds, features.shape[1])
    heads = Heads(problems, features.shape[1], train_SN)
    best = [_Best(problem, features.shape[1], train_SN, validation) for problem in problems]
    optimiser = torch.optim.Adam(heads.parameters, lr=schedule.learning_rate, betas=(0.9, 0.999), fused=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(schedule.seeds)]
    steps = schedule.epochs * -(-train_SN.shape[1] // schedule.batch_size)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    block = _BLOCK if is_large(features) else 1
    for epoch in range(1, schedule.epochs + 1):
        for rows_SB in _batches(train_SN, schedule.batch_size, generators, block):
            x_SBD = statistics.normalise(torch.from_numpy(rows_of_features(features, rows_SB)))
            heads.backward(x_SBD, torch.from_numpy(rows_SB))
            optimiser.step()
            falling.step()
        if epoch % schedule.validation_every == 0 or epoch == schedule.epochs:
            weight, bias = heads.inference(statistics)
            found = outputs(features, validation, weight, bias)
            for part, of_task in zip(heads.parts, best, strict=True):
                of_task.offer(epoch, found[..., part], weight[:, part], bias[:, part])
        on_epoch(1)
    return [of_task.probe() for of_task in best]


def _batches(
    train_SN: np.ndarray, batch_size: int, generators: Sequence[torch.Generator], block: int = 1
) -> Iterator[np.ndarray]:
    """An epoch of rows (S, B), each seed in its own order of blocks of `block` neighbours."""
    count = train_SN.shape[1]
    first = np.stack([torch.randperm(-(-count // block), generator=generator).numpy() for generator in generators])
    order = (first[:, :, None] * block + np.arange(block)).reshape(len(generators), -1)
    order = order[order < count].reshape(len(generators), count)  # the last block may be shorter
    for start in range(0, count, batch_size):
        rows = np.take_along_axis(train_SN, order[:, start : start + batch_size], axis=1)
        if rows.shape[1] > 1:
            yield rows


class _Best:
    """The best weights so far of each seed of one task, by the validation rows; of equally good epochs, the first."""

    def __init__(self, problem: Problem, dimension: int, train_SN: np.ndarray, validation: np.ndarray) -> None:
        seeds = len(train_SN)
        self.task = problem.task
        distinct = train_SN[:1] if (train_SN == train_SN[0]).all() else train_SN
        self.ignored = problem.unlearnable(list(distinct), validation)
        self.reference = problem.reference(validation)
        # A fold of few people may show one class alone, which cannot tell epochs apart: then the last one is kept.
        self.blind = problem.loss != REGRESSION and bool(absent_columns(self.reference).all())
        self.score = np.full(seeds, np.inf)
        self.epochs = np.zeros(seeds, dtype=np.int64)
        self.weight: np.ndarray = np.zeros((seeds, problem.outputs, dimension), dtype=np.float32)
        self.bias: np.ndarray = np.zeros((seeds, problem.outputs), dtype=np.float32)

    def offer(self, epoch: int, z: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
        predicted = answers(self.task, z)
        if self.ignored.any():
            predicted = np.where(self.ignored, np.nan, predicted)
        if self.blind:
            score = np.full(len(z), np.nan)
            better = np.ones(len(z), dtype=bool)
        else:
            score = selection_score(self.task, predicted, self.reference)
            if not np.isfinite(score).all():
                raise ValueError(f"{self.task}: the validation score of epoch {epoch} is not finite: {score.tolist()}")
            better = score < self.score
        self.weight[better], self.bias[better] = weight[better], bias[better]
        self.score[better], self.epochs[better] = score[better], epoch

    def probe(self) -> Probe:
        return Probe(self.task, self.weight, self.bias, self.epochs, self.score)
