"""The regularised linear probe: ridge regression of points and angles, logistic regression of units and classes.

Features are standardised over the training faces. The penalty of each task is chosen on validation faces. The same
code serves 256 learnt features and thousands of hand-crafted ones (see design.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fabnet.probing.design import Design
from fabnet.probing.metrics import absent_columns, selection_score
from fabnet.probing.probe import Probe, answers, outputs
from fabnet.probing.problem import REGRESSION, Problem
from fabnet.probing.regression import Solution, logistic_classes, logistic_units, ridge

if TYPE_CHECKING:
    from fabnet.config import ProbeParams

#: Log-odds of a unit that never, or always, occurs among the training faces, and of a class that never does.
_CERTAIN = 30.0


@dataclass(frozen=True)
class Penalties:
    """What is chosen from.

    Attributes:
        alphas: of ridge regression, on standardised features: |Y - X W|^2 + alpha |W|^2.
        cs: inverse penalties of logistic regression, on standardised features: sum of losses + |W|^2 / (2 C).
    """

    alphas: tuple[float, ...]
    cs: tuple[float, ...]

    def of(self, problem: Problem) -> list[float]:
        """Those of one task, the strongest penalty first."""
        return sorted(self.alphas, reverse=True) if problem.loss == REGRESSION else sorted(self.cs)


def penalties_of(params: "ProbeParams") -> Penalties:
    """The penalties that the section `probe` of params.yaml lists."""
    return Penalties(tuple(params.ridge_alphas), tuple(params.logistic_cs))


def fit(
    features: np.ndarray,
    problems: Sequence[Problem],
    train: np.ndarray,
    validation: np.ndarray,
    penalties: Penalties,
) -> list[Probe]:
    """A probe per task, of one seed: learnt from `train`, its penalty chosen on `validation`.

    Labels of other rows are never used. Of equally good penalties the strongest is taken.

    Args:
        features: float32 (N, D); may be memory-mapped, only blocks of it are held.
        problems: the tasks, with labels for all N rows.
        train: rows to learn from, at least 2.
        validation: rows to choose penalties on, at least 1.
        penalties: to choose from.

    Returns:
        The probes, in the order of `problems`.

    Raises:
        UserError: all validation faces agree on every unit, or class.
    """
    design = Design.of(features, train)
    probes = []
    for problem in problems:
        path = Path.of(design, problem, penalties)
        ignored = problem.unlearnable([train], validation)
        probes.append(path.probe(score_path(path.predict(features, validation), problem, validation, ignored)))
    return probes


@dataclass(frozen=True)
class Path:
    """The probes of one task for every penalty, the strongest first.

    Attributes:
        penalties: (P,).
        weight: float32 (P, K, D).
        bias: float32 (P, K).
    """

    problem: Problem
    penalties: Sequence[float]
    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, design: Design, problem: Problem, penalties: Penalties) -> "Path":
        """Fit a task for every penalty.

        Args:
            design: of the training faces.
            problem: the task.
            penalties: the grid.
        """
        found = [(c, *design.in_features(w, b)) for c, w, b in _solutions(design, problem, penalties)]
        strengths, weight, bias = zip(*found, strict=True)
        return cls(problem, strengths, np.stack(weight), np.stack(bias))

    def predict(self, features: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Predictions (n, K) of some rows, a penalty at a time.

        Args:
            features: float32 (N, D), of all faces.
            rows: n of them.
        """
        for weight, bias in zip(self.weight, self.bias, strict=True):
            yield answers(self.problem.task, outputs(features, rows, weight[None], bias[None])[0])

    def probe(self, scores: np.ndarray) -> Probe:
        """The probe whose score (P,) is least; of equal ones the first, which has the strongest penalty."""
        at = int(scores.argmin())
        chosen, score = np.asarray([self.penalties[at]]), scores[[at]]
        return Probe(self.problem.task, self.weight[[at]], self.bias[[at]], chosen, score)


def score_path(
    predictions: Iterable[np.ndarray], problem: Problem, rows: np.ndarray, ignored: np.ndarray
) -> np.ndarray:
    """Scores (P,) of predictions (n, K) by penalty, to be minimised; see metrics.selection_score.

    Args:
        predictions: one after the other.
        problem: the task.
        rows: that were predicted.
        ignored: (K,), outputs that do not choose.
    """
    reference = problem.reference(rows)
    scored = (np.where(ignored, np.nan, each) if ignored.any() else each for each in predictions)
    return np.asarray([float(selection_score(problem.task, each, reference)) for each in scored])


def at_edge(chosen: np.ndarray, penalties: Sequence[float]) -> bool:
    """Whether most of the chosen penalties are the first or the last of the grid: the best may lie beyond it.

    Args:
        chosen: of one split, or of every fold.
        penalties: the grid of their task.
    """
    return len(penalties) > 1 and float(np.isin(chosen, (min(penalties), max(penalties))).mean()) > 0.5


def _solutions(design: Design, problem: Problem, penalties: Penalties) -> Iterator[Solution]:
    labels = problem.labels[design.rows]
    if problem.loss == REGRESSION:
        yield from ridge(design, labels, penalties.alphas)
        return
    if problem.loss == "bce":
        constant = absent_columns(labels)
        certain = np.where(labels[0] > 0.5, _CERTAIN, -_CERTAIN)
        columns, solve = np.flatnonzero(~constant), lambda: logistic_units(design, labels[:, ~constant], penalties.cs)
    else:
        columns, codes = np.unique(labels, return_inverse=True)
        certain = np.full(problem.outputs, -_CERTAIN)
        solve = lambda: logistic_classes(design, codes, penalties.cs)  # noqa: E731
    if len(columns) < (1 if problem.loss == "bce" else 2):  # nothing to tell apart
        certain[columns] = 0
        for c in penalties.of(problem):
            yield c, np.zeros((design.unknowns, problem.outputs)), certain
        return
    for c, weights, intercepts in solve():
        all_weights, all_intercepts = np.zeros((design.unknowns, problem.outputs)), certain.copy()
        all_weights[:, columns], all_intercepts[columns] = weights, intercepts
        yield c, all_weights, all_intercepts
