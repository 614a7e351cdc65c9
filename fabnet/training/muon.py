"""Muon: steps of orthogonalised momentum for the matrices of a network (Jordan et al. 2024).

The momentum of a weight matrix is replaced by the nearest matrix whose singular values are all about one, so that all
directions are learned at the same rate, not only those in which the gradient happens to be large. A convolution's
weight is the matrix of its outputs by its inputs and taps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: Coefficients of the published iteration p(X) = a X + b X X'X + c (X X')^2 X, which takes singular values into
#: [0.7, 1.2], and how often it is applied.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
#: Weights with fewer outputs or inputs than this are left to Adam: a flow's two components are no mixture of features.
_SMALLEST = 8
#: Adam's learning rate beside Muon's.
_ADAM = 0.1


def is_matrix(weight: Tensor) -> bool:
    """Whether a parameter is a matrix in the sense of Muon: a convolution between at least 8 channels each."""
    return weight.ndim == 4 and min(weight.shape[:2]) >= _SMALLEST


def orthogonalised(matrix_MN: Tensor) -> Tensor:
    """The matrix (M, N) with singular values near one: its U V' up to the iteration's error.

    The iteration is run on the smaller Gram matrix, of which the factor that X is multiplied by is a polynomial: two
    large products instead of ten.
    """
    if matrix_MN.shape[0] > matrix_MN.shape[1]:
        return orthogonalised(matrix_MN.T).T
    scaled_MN = matrix_MN / (matrix_MN.norm() + 1e-7)
    gram_MM = scaled_MN @ scaled_MN.T
    factor_MM: Tensor | None = None
    for iteration in range(_ITERATIONS):
        step_MM = torch.addmm(gram_MM, gram_MM, gram_MM, beta=_B, alpha=_C)
        step_MM.diagonal().add_(_A)
        factor_MM = step_MM if factor_MM is None else step_MM @ factor_MM
        if iteration < _ITERATIONS - 1:
            gram_MM = step_MM @ gram_MM @ step_MM
    assert factor_MM is not None
    return factor_MM @ scaled_MN


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for convolutions' weights (O, I, H, W), and Adam for all other parameters.

    `torch.optim.Muon` takes matrices alone, and runs its iteration on them in bfloat16.

    Args:
        weights: all parameters; those for which `is_matrix` holds are Muon's.
        lr: of a step whose singular values are all about one, a scalar on the device of the weights; changes to it are
            obeyed. Weights with more outputs than inputs take a larger step, and Adam one of a tenth.
        momentum: share of the past in the mean of gradients.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: Tensor, momentum: float = 0.95) -> None:
        given = list(weights)
        super().__init__([weight for weight in given if is_matrix(weight)], {"lr": lr, "momentum": momentum})
        others = [weight for weight in given if not is_matrix(weight)]
        self.adam = torch.optim.Adam(others, _ADAM * lr, fused=True, capturable=lr.is_cuda)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.adam.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients; none where the attribute `found_inf`, if any, is 1, as of fused Adam."""
        found: Tensor | None = getattr(self, "found_inf", None)
        self.adam.grad_scale, self.adam.found_inf = None, found  # type: ignore[attr-defined]
        for group in self.adam.param_groups:
            torch.mul(self.param_groups[0]["lr"], _ADAM, out=group["lr"])
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    step = -group["lr"] * self._direction(weight, group["momentum"])
                    weight.add_(step if found is None else step.where(found == 0, 0))
        self.adam.step()

    def _direction(self, weight: nn.Parameter, momentum: float) -> Tensor:
        """(O, I, H, W), as it lies in memory with channels last."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean: Tensor = state["mean"]
        assert weight.grad is not None
        mean.lerp_(weight.grad, 1 - momentum)
        update = weight.grad.lerp(mean, momentum).permute(0, 2, 3, 1)
        matrix_ON = orthogonalised(update.reshape(len(update), -1))
        scale = max(1.0, matrix_ON.shape[0] / matrix_ON.shape[1]) ** 0.5
        return matrix_ON.mul_(scale).view(update.shape).permute(0, 3, 1, 2)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": super().state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict["muon"])
        self.adam.load_state_dict(state_dict["adam"])
