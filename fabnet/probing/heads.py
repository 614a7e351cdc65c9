"""Batch norms and bias-free linear layers of all tasks and several seeds side by side, with gradients written out.

Shape suffixes: S seeds, B batch, D embedding, T tasks, K outputs of all tasks, those of one task beside each other.

Training many small probes one by one spends its time on launching small operations, and on reading the same embeddings
again for each. Here the probes of all tasks and seeds are one tensor. With x normalised, gamma and beta the scale and
shift of a task, and W its layer, z = (x * gamma + beta) W' equals x (W * gamma)' + W beta, so one product forward and
one backward serve all. Input statistics do not depend on parameters: the tasks of a seed share them, as BatchNorm1d
modules fed with the same batches would.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fabnet.probing.problem import REGRESSION, Problem

# The defaults of torch.nn.BatchNorm1d.
_EPSILON = 1e-5
_MOMENTUM = 0.1


class InputStatistics:
    """The normalisation of BatchNorm1d, with its running mean and variance, for S seeds at once."""

    def __init__(self, seeds: int, dimension: int) -> None:
        self.mean_SD = torch.zeros(seeds, dimension)
        self.variance_SD = torch.ones(seeds, dimension)

    def normalise(self, x_SBD: Tensor) -> Tensor:
        """Normalise in training mode, by the batch, and move the running statistics. Changes `x_SBD` in place."""
        size = x_SBD.shape[1]
        mean_SD = x_SBD.mean(dim=1)
        x_SBD -= mean_SD[:, None]
        variance_SD = x_SBD.square().mean(dim=1)
        x_SBD *= torch.rsqrt(variance_SD + _EPSILON)[:, None]
        self.mean_SD.lerp_(mean_SD, _MOMENTUM)
        self.variance_SD.lerp_(variance_SD * (size / (size - 1)), _MOMENTUM)
        return x_SBD


class Heads:
    """The parameters of the probes of all tasks, and what they are trained towards.

    Args:
        problems: the tasks, with labels for all faces.
        dimension: D.
        train_SN: rows of each seed whose labels set the scale of angles and the weights of units and classes.
    """

    def __init__(self, problems: Sequence[Problem], dimension: int, train_SN: np.ndarray) -> None:
        seeds = len(train_SN)
        ends = np.cumsum([problem.outputs for problem in problems]).tolist()
        #: Which of the K outputs are each task's.
        self.parts = [slice(end - problem.outputs, end) for problem, end in zip(problems, ends, strict=True)]
        self.gamma_STD = torch.ones(seeds, len(problems), dimension)
        self.beta_STD = torch.zeros(seeds, len(problems), dimension)
        of_seeds = [
            torch.cat([first_weights(problem, dimension, seed) for problem in problems]) for seed in range(seeds)
        ]
        self.weight_SKD = torch.stack(of_seeds)
        self._losses = [_Loss(problem, train_SN) for problem in problems]
        self._scaled_SKD = torch.empty_like(self.weight_SKD)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.gamma_STD, self.beta_STD, self.weight_SKD]

    def backward(self, x_SBD: Tensor, rows_SB: Tensor) -> None:
        """Set `.grad` of the parameters to that of the sum over tasks and seeds of their batches' mean losses.

        Args:
            x_SBD: normalised embeddings, a batch for each seed.
            rows_SB: which faces they are, for their labels.
        """
        bias_SK = self._times(self.beta_STD).sum(dim=2)
        scaled_SKD = self._times(self.gamma_STD)
        slope_SBK = torch.baddbmm(bias_SK[:, None], x_SBD, scaled_SKD.transpose(1, 2))
        for loss, part in zip(self._losses, self.parts, strict=True):
            loss.to_gradient(slope_SBK[:, :, part], rows_SB)
        total_SK = slope_SBK.sum(dim=1)
        product_SKD = torch.bmm(slope_SBK.transpose(1, 2), x_SBD)
        torch.mul(self.weight_SKD, product_SKD, out=scaled_SKD)
        gamma_grad_STD, beta_grad_STD = torch.empty_like(self.gamma_STD), torch.empty_like(self.beta_STD)
        for task, part in enumerate(self.parts):
            torch.sum(scaled_SKD[:, part], dim=1, out=gamma_grad_STD[:, task])
            beta_grad_STD[:, task] = torch.bmm(total_SK[:, None, part], self.weight_SKD[:, part])[:, 0]
            product_SKD[:, part] *= self.gamma_STD[:, task, None]
            product_SKD[:, part].addcmul_(total_SK[:, part, None], self.beta_STD[:, task, None])
        self.gamma_STD.grad, self.beta_STD.grad, self.weight_SKD.grad = gamma_grad_STD, beta_grad_STD, product_SKD

    def inference(self, statistics: InputStatistics) -> tuple[np.ndarray, np.ndarray]:
        """Weight (S, K, D) and bias (S, K) that map embeddings to outputs in evaluation mode, in the labels' scale."""
        slope_STD = self.gamma_STD * torch.rsqrt(statistics.variance_SD + _EPSILON)[:, None]
        bias_SK = self._times(self.beta_STD - statistics.mean_SD[:, None] * slope_STD).sum(dim=2)
        weight_SKD = self._times(slope_STD).clone()
        for loss, part in zip(self._losses, self.parts, strict=True):
            weight_SKD[:, part] *= loss.scale_SK[:, :, None]
            bias_SK[:, part] = bias_SK[:, part] * loss.scale_SK + loss.shift_SK
        return weight_SKD.numpy(), bias_SK.numpy()

    def _times(self, factor_STD: Tensor) -> Tensor:
        """The weights times a factor of each task: (S, K, D), which the next call overwrites."""
        for task, part in enumerate(self.parts):
            torch.mul(self.weight_SKD[:, part], factor_STD[:, task, None], out=self._scaled_SKD[:, part])
        return self._scaled_SKD


class _Loss:
    """The loss of one task for all seeds, each with the scales and weights of its own training faces."""

    def __init__(self, problem: Problem, train_SN: np.ndarray) -> None:
        self.problem = problem
        self.labels = torch.from_numpy(problem.labels)
        # (S, 2, K) of units, (S, K) of classes.
        self.weighting = torch.stack([inverse_frequencies(problem, train) for train in train_SN])
        self.shift_SK = torch.zeros(len(train_SN), problem.outputs)
        self.scale_SK = torch.ones(len(train_SN), problem.outputs)
        if problem.task == "pose":
            angles = self.labels[torch.from_numpy(train_SN)]
            self.shift_SK, self.scale_SK = angles.mean(dim=1), angles.std(dim=1, correction=0).clamp_min(1e-6)

    def to_gradient(self, z_SBK: Tensor, rows_SB: Tensor) -> None:
        """Replace outputs by the derivative of each seed's own mean loss by them."""
        target = self.labels[rows_SB]
        seeds, size, outputs = z_SBK.shape
        if self.problem.loss == REGRESSION:
            if self.problem.task == "pose":
                target.sub_(self.shift_SK[:, None]).div_(self.scale_SK[:, None])
            z_SBK.sub_(target).mul_(2 / (size * outputs))
        elif self.problem.loss == "bce":
            absence, presence = self.weighting[:, :1], self.weighting[:, 1:]
            weight = torch.where(target > 0.5, presence, absence)
            z_SBK.sigmoid_().sub_(target).mul_(weight / (size * outputs))
        else:
            weight = self.weighting.gather(1, target)
            weight /= weight.sum(dim=1, keepdim=True)
            z_SBK.copy_(torch.softmax(z_SBK, dim=2))
            z_SBK.scatter_add_(2, target[:, :, None], z_SBK.new_tensor(-1.0).expand(seeds, size, 1))
            z_SBK.mul_(weight[:, :, None])


def first_weights(problem: Problem, dimension: int, seed: int) -> Tensor:
    """Weights (K, D) as torch.nn.Linear draws them; seeded by task too, so that no task depends on others.

    Args:
        problem: whose number of outputs is K.
        dimension: D of the embeddings.
        seed: of the probe.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(f"{problem.task}/{seed}".encode()))
    bound = dimension**-0.5
    return torch.empty(problem.outputs, dimension).uniform_(-bound, bound, generator=generator)


def inverse_frequencies(problem: Problem, train: np.ndarray) -> Tensor:
    """Weights of absence and presence of each unit (2, K), or of each class (K,), with mean 1 over the training faces.

    What never occurs among them is never weighted either; a divisor of 1 keeps its weight finite.

    Args:
        problem: of units or classes.
        train: rows of the training faces.
    """
    if problem.loss == REGRESSION:
        return torch.ones(problem.outputs)
    labels, count = problem.labels[train], len(train)
    if problem.loss == "cross_entropy":
        frequency = np.bincount(labels, minlength=problem.outputs)
        return torch.from_numpy(count / (problem.outputs * np.maximum(frequency, 1))).float()
    present = labels.sum(axis=0)
    return torch.from_numpy(count / (2 * np.maximum([count - present, present], 1))).float()
