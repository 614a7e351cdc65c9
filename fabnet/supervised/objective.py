"""What the network is trained towards: the losses of the probes, on labels in a common scale."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fabnet.probing.heads import inverse_frequencies
from fabnet.probing.problem import REGRESSION, Problem
from fabnet.supervised.mirror import mirrored


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
        """Mean loss of outputs for the faces `rows`, some of which were mirrored."""
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
    """The sum over tasks."""
    losses = [each.loss(outputs[each.problem.task], rows, flipped_N) for each in objectives]
    return torch.stack(losses).sum()
