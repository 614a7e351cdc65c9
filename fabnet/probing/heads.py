"""Batch norm and bias-free linear layer of one task for several seeds side by side, with their gradients written out.

Shape suffixes: S seeds, B batch, D embedding, K outputs.

Training many small probes one by one spends its time on launching small operations. Here the probes of all seeds are
one tensor. With x normalised, gamma and beta the scale and shift, and W the layer, z = (x * gamma + beta) W' equals x
(W * gamma)' + W beta, so one product forward and one backward serve all seeds. Input statistics do not depend on
parameters: the tasks of a seed share them, as BatchNorm1d modules fed with the same batches would.
"""

import zlib

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

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
        variance_SD = torch.linalg.vector_norm(x_SBD, dim=1).square_().div_(size)
        x_SBD *= torch.rsqrt(variance_SD + _EPSILON)[:, None]
        self.mean_SD.lerp_(mean_SD, _MOMENTUM)
        self.variance_SD.lerp_(variance_SD * (size / (size - 1)), _MOMENTUM)
        return x_SBD


class Head:
    """The parameters of one task's probes, and what they are trained towards.

    Args:
        problem: the task, with labels for all faces.
        dimension: D.
        train: rows whose labels set the scale of angles and the weights of units and classes.
        seeds: S.
    """

    def __init__(self, problem: Problem, dimension: int, train: np.ndarray, seeds: int) -> None:
        self.problem = problem
        self.gamma_SD = torch.ones(seeds, dimension)
        self.beta_SD = torch.zeros(seeds, dimension)
        self.weight_SKD = torch.stack([first_weights(problem, dimension, seed) for seed in range(seeds)])
        self.labels = torch.from_numpy(problem.labels)
        self.weighting = inverse_frequencies(problem, train)
        self.shift_K, self.scale_K = torch.zeros(problem.outputs), torch.ones(problem.outputs)
        if problem.task == "pose":
            angles = self.labels[torch.from_numpy(train)]
            self.shift_K, self.scale_K = angles.mean(dim=0), angles.std(dim=0, correction=0).clamp_min(1e-6)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.gamma_SD, self.beta_SD, self.weight_SKD]

    def backward(self, x_SBD: Tensor, rows_SB: Tensor) -> None:
        """Set `.grad` of the parameters to that of the sum over seeds of their batches' mean losses.

        Args:
            x_SBD: normalised embeddings, a batch for each seed.
            rows_SB: which faces they are, for their labels.
        """
        scaled_SKD = self.weight_SKD * self.gamma_SD[:, None]
        bias_SK = torch.bmm(self.weight_SKD, self.beta_SD[:, :, None])[:, :, 0]
        slope_SBK = self._loss_gradient(torch.baddbmm(bias_SK[:, None], x_SBD, scaled_SKD.transpose(1, 2)), rows_SB)
        total_SK = slope_SBK.sum(dim=1)
        product_SKD = torch.bmm(slope_SBK.transpose(1, 2), x_SBD)
        self.gamma_SD.grad = torch.mul(self.weight_SKD, product_SKD, out=scaled_SKD).sum(dim=1)
        self.beta_SD.grad = torch.bmm(total_SK[:, None], self.weight_SKD)[:, 0]
        product_SKD *= self.gamma_SD[:, None]
        self.weight_SKD.grad = product_SKD.addcmul_(total_SK[:, :, None], self.beta_SD[:, None])

    def inference(self, statistics: InputStatistics) -> tuple[np.ndarray, np.ndarray]:
        """Weight (S, K, D) and bias (S, K) that map embeddings to outputs in evaluation mode, in the labels' scale."""
        slope_SD = self.gamma_SD * torch.rsqrt(statistics.variance_SD + _EPSILON)
        offset_SD = self.beta_SD - statistics.mean_SD * slope_SD
        weight_SKD = self.weight_SKD * slope_SD[:, None] * self.scale_K[:, None]
        bias_SK = torch.bmm(self.weight_SKD, offset_SD[:, :, None])[:, :, 0] * self.scale_K + self.shift_K
        return weight_SKD.numpy(), bias_SK.numpy()

    def _loss_gradient(self, z_SBK: Tensor, rows_SB: Tensor) -> Tensor:
        """Derivative of each seed's own mean loss by the outputs."""
        target = self.labels[rows_SB]
        count = z_SBK.shape[1] * z_SBK.shape[2]
        if self.problem.loss == REGRESSION:
            return (z_SBK - (target - self.shift_K) / self.scale_K) * (2 / count)
        if self.problem.loss == "bce":
            weight = torch.where(target > 0.5, self.weighting[1], self.weighting[0])
            return (torch.sigmoid(z_SBK) - target) * weight / count
        weight = self.weighting[target]
        weight /= weight.sum(dim=1, keepdim=True)
        return (torch.softmax(z_SBK, dim=2) - one_hot(target, self.problem.outputs)) * weight[:, :, None]


def first_weights(problem: Problem, dimension: int, seed: int) -> Tensor:
    """Weights (K, D) as torch.nn.Linear draws them; seeded by task too, so that no task depends on others."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{problem.task}/{seed}".encode()))
    bound = dimension**-0.5
    return torch.empty(problem.outputs, dimension).uniform_(-bound, bound, generator=generator)


def inverse_frequencies(problem: Problem, train: np.ndarray) -> Tensor:
    """Weights of absence and presence of each unit (2, K), or of each class (K,), with mean 1 over the training faces.

    What never occurs among them is never weighted either; a divisor of 1 keeps its weight finite.
    """
    labels, count = problem.labels[train], len(train)
    if problem.loss == "cross_entropy":
        frequency = np.bincount(labels, minlength=problem.outputs)
        return torch.from_numpy(count / (problem.outputs * np.maximum(frequency, 1))).float()
    if problem.loss == "bce":
        present = labels.sum(axis=0)
        return torch.from_numpy(count / (2 * np.maximum([count - present, present], 1))).float()
    return torch.ones(problem.outputs)
