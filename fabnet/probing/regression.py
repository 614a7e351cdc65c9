"""Ridge and logistic regression for a path of penalties, on a Design; both have the objectives of scikit-learn.

Shape suffixes: N training faces, d working coordinates, K outputs.

Ridge: minimise |Y - X W - b|^2 + alpha |W|^2 (sklearn.linear_model.Ridge). In the eigenbasis of X'X every penalty is a
division.

Logistic regression: minimise sum_i s_i loss(y_i, x_i W + b) + |W|^2 / (2 C), with s the balanced weights
(LogisticRegression(C=C, class_weight="balanced")); the loss is binary cross-entropy, separately for every action unit,
or the softmax cross-entropy of all classes together. It is solved by a truncated Newton method (Nocedal and Wright,
Numerical Optimization, algorithm 7.1): conjugate gradients on the Hessian, preconditioned by X'X in its eigenbasis,
then a backtracking line search; all units in the same matrix products, and each penalty from the solution of the
stronger one before.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax

from fabnet.probing.design import Design

#: Objective, in shares of its value for a probe that says nothing, that a solution may lie above the minimum.
_GAP = 1e-7
_NEWTON_STEPS, _CONJUGATE_STEPS, _HALVINGS = 30, 40, 20
#: Length of the residual, in shares of the gradient's, at which conjugate gradients stop.
_RESIDUAL = 0.1
#: Sufficient decrease of a line search, in shares of what the slope promises.
_DECREASE = 1e-4

Solution = tuple[float, np.ndarray, np.ndarray]


def ridge(design: Design, targets: np.ndarray, alphas: Sequence[float]) -> Iterator[Solution]:
    """Ridge regressions: (alpha, weights float64 (d, K), intercepts (K,)), the strongest penalty first.

    Args:
        design: the training faces.
        targets: (N, K), in their order.
        alphas: penalties.
    """
    mean = targets.mean(axis=0, dtype=np.float64)
    rotated = design.vectors.T @ design.transposed_times(targets - mean)
    for alpha in sorted(alphas, reverse=True):
        yield alpha, design.vectors @ (rotated / (design.spectrum + alpha)[:, None]), mean


def logistic_units(design: Design, present: np.ndarray, cs: Sequence[float]) -> Iterator[Solution]:
    """Binary logistic regressions of K units: (C, weights float64 (d, K), intercepts (K,)), strongest penalty first.

    Args:
        design: the training faces.
        present: (N, K), 0 or 1, neither being constant within a column.
        cs: inverse penalties.
    """
    positives = present.sum(axis=0, dtype=np.float64)
    count = len(present)
    weights = np.where(present > 0.5, count / (2 * positives), count / (2 * (count - positives)))
    return _path(design, _Binary(present.astype(np.float64), weights), cs)


def logistic_classes(design: Design, classes: np.ndarray, cs: Sequence[float]) -> Iterator[Solution]:
    """Multinomial logistic regressions: (C, weights float64 (d, K), intercepts (K,)), the strongest penalty first.

    Args:
        design: the training faces.
        classes: int (N,), 0 ... K - 1, of which each occurs, K being at least 2.
        cs: inverse penalties.
    """
    frequency = np.bincount(classes)
    weights = len(classes) / (len(frequency) * frequency)
    return _path(design, _Multinomial(np.eye(len(frequency))[classes], weights[classes][:, None]), cs)


class _Binary:
    """Weighted cross-entropy of units, each with an objective of its own: sums of parameters keep the axis K."""

    def __init__(self, truth: np.ndarray, weights: np.ndarray) -> None:
        self.truth, self.weights = truth, weights

    def value(self, logits: np.ndarray) -> np.ndarray:
        return -(self.weights * (log_expit(logits) - (1 - self.truth) * logits)).sum(axis=0)

    def gradient(self, logits: np.ndarray) -> np.ndarray:
        slope: np.ndarray = self.weights * (expit(logits) - self.truth)
        return slope

    def prepare(self, logits: np.ndarray) -> None:
        probability = expit(logits)
        self.curvature = self.weights * probability * (1 - probability)

    def hessian_times(self, direction: np.ndarray) -> np.ndarray:
        return self.curvature * direction

    @staticmethod
    def total(by_output: np.ndarray) -> np.ndarray:
        return by_output


class _Multinomial:
    """Weighted softmax cross-entropy: one objective for all classes."""

    def __init__(self, truth: np.ndarray, weights: np.ndarray) -> None:
        self.truth, self.weights = truth, weights

    def value(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray([-(self.weights * self.truth * log_softmax(logits, axis=1)).sum()])

    def gradient(self, logits: np.ndarray) -> np.ndarray:
        slope: np.ndarray = self.weights * (softmax(logits, axis=1) - self.truth)
        return slope

    def prepare(self, logits: np.ndarray) -> None:
        self.probability = softmax(logits, axis=1)
        self.curvature = self.weights * self.probability * (1 - self.probability)

    def hessian_times(self, direction: np.ndarray) -> np.ndarray:
        moved = self.probability * direction
        product: np.ndarray = self.weights * (moved - self.probability * moved.sum(axis=1, keepdims=True))
        return product

    @staticmethod
    def total(by_output: np.ndarray) -> np.ndarray:
        return by_output.sum(keepdims=True)


def _path(design: Design, loss: _Binary | _Multinomial, cs: Sequence[float]) -> Iterator[Solution]:
    outputs = loss.truth.shape[1]
    weights, intercepts = np.zeros((design.unknowns, outputs)), np.zeros(outputs)
    logits = np.zeros(loss.truth.shape)
    at_zero = loss.value(logits)
    for c in sorted(cs):
        for _ in range(_NEWTON_STEPS):
            step, shift, moved, slope = _newton_step(design, loss, logits, weights, 1 / c)
            open_ = -slope > _GAP * at_zero
            if not open_.any():
                break
            length = _line_search(loss, logits, moved, weights, step, slope, 1 / c, open_)
            weights, intercepts = weights + length * step, intercepts + length * shift
            logits += length * moved
        yield c, weights, intercepts


def _newton_step(
    design: Design, loss: _Binary | _Multinomial, logits: np.ndarray, weights: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A step of weights (d, K) and intercepts (K,), of the logits (N, K), and the slope along it, by objective."""
    loss.prepare(logits)
    down = loss.gradient(logits)
    residual = -(design.transposed_times(down) + penalty * weights)
    residual_b = -down.sum(axis=0)
    # The Hessian is X' H X + penalty; with H replaced by its mean it is diagonal in the eigenbasis of X'X.
    scales = loss.curvature.mean(axis=0) * design.spectrum[:, None] + penalty
    scale_b = np.maximum(loss.curvature.sum(axis=0), 1e-12)

    def preconditioned(of_weights: np.ndarray, of_intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return design.vectors @ ((design.vectors.T @ of_weights) / scales), of_intercepts / scale_b

    def product(a: np.ndarray, a_b: np.ndarray, b: np.ndarray, b_b: np.ndarray) -> np.ndarray:
        return loss.total((a * b).sum(axis=0) + a_b * b_b)

    step, step_b, moved = np.zeros_like(weights), np.zeros_like(residual_b), np.zeros_like(logits)
    gradient, gradient_b = residual, residual_b
    better, better_b = preconditioned(residual, residual_b)
    along, along_b = better, better_b
    left = product(residual, residual_b, better, better_b)
    goal = _RESIDUAL**2 * left
    for _ in range(_CONJUGATE_STEPS):
        active = left > goal
        if not active.any():
            break
        of_faces = design.times(along) + along_b
        turned = loss.hessian_times(of_faces)
        bent, bent_b = design.transposed_times(turned) + penalty * along, turned.sum(axis=0)
        curvature = product(along, along_b, bent, bent_b)
        active &= curvature > 0
        length = np.where(active, left / np.where(active, curvature, 1), 0)
        step, step_b = step + length * along, step_b + length * along_b
        moved += length * of_faces
        residual, residual_b = residual - length * bent, residual_b - length * bent_b
        better, better_b = preconditioned(residual, residual_b)
        before, left = left, product(residual, residual_b, better, better_b)
        share = np.where(active, left / np.where(active, before, 1), 0)
        along, along_b = better + share * along, better_b + share * along_b
        left = np.where(active, left, 0)
    return step, step_b, moved, -product(gradient, gradient_b, step, step_b)


def _line_search(
    loss: _Binary | _Multinomial,
    logits: np.ndarray,
    moved: np.ndarray,
    weights: np.ndarray,
    step: np.ndarray,
    slope: np.ndarray,
    penalty: float,
    open_: np.ndarray,
) -> np.ndarray:
    """How much of the step every objective takes: 1, or a half of it as often as the decrease is too small."""
    at = loss.value(logits)
    linear, square = loss.total((weights * step).sum(axis=0)), loss.total((step * step).sum(axis=0))
    length = np.where(open_, 1.0, 0.0)
    for _ in range(_HALVINGS):
        value = loss.value(logits + length * moved)
        rise = value - at + penalty * (length * linear + length**2 * square / 2)
        # Below rounding a step neither helps nor harms.
        fails = rise > _DECREASE * length * slope + 1e-12 * np.abs(at)
        if not fails.any():
            return length
        length = np.where(fails, length / 2, length)
    return np.where(fails, 0.0, length)
