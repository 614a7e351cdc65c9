"""Muon against singular value decompositions, the iteration as published, and Adam."""

import copy

import numpy as np
import pytest
import torch
from small_runs import losses_per_step, params, trainer
from torch import nn

from fabnet.training.muon import Muon, is_matrix, orthogonalised
from fabnet.training.optimiser import rate_on


@pytest.mark.parametrize("shape", [(8, 8), (16, 144), (128, 32)])
def test_orthogonalised_is_the_published_iteration(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    ours = orthogonalised(torch.from_numpy(matrix).float()).numpy()
    np.testing.assert_allclose(ours, x, atol=2e-4)


def test_directions_stay_and_sizes_become_alike():
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(12, 12, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(40, 12, generator=generator))
    sizes = torch.logspace(0, -2, 12)
    made = u.T @ orthogonalised(u * sizes @ v.T) @ v
    assert (made - torch.diag(made.diagonal())).abs().max() < 1e-4
    assert made.diagonal()[:8].min() > 0.6
    assert made.diagonal().max() < 1.3


def test_which_parameters_are_whose():
    convolution, flow = nn.Conv2d(16, 8, 3), nn.Conv2d(16, 2, 3)
    assert is_matrix(convolution.weight)
    assert not any(map(is_matrix, (convolution.bias, flow.weight, nn.Linear(16, 16).weight)))


def test_others_step_as_with_adam_and_matrices_by_the_rate():
    torch.manual_seed(0)
    ours, theirs = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16)), None
    theirs = copy.deepcopy(ours)
    muon = Muon(ours.parameters(), lr=rate_on(torch.device("cpu"), 0.05))
    adam = torch.optim.Adam(theirs.parameters(), lr=0.005)
    before = ours[0].weight.detach().clone()
    for network, optimiser in ((ours, muon), (theirs, adam)):
        network(torch.ones(2, 8, 8, 8).cumsum(3)).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(ours[0].bias, theirs[0].bias)
    torch.testing.assert_close(ours[1].weight, theirs[1].weight)
    moved = (before - ours[0].weight).detach().permute(0, 2, 3, 1).reshape(16, -1)
    # Of the first step the momentum is the gradient: the step is its orthogonal factor.
    gradient = ours[0].weight.grad.permute(0, 2, 3, 1).reshape(16, -1)
    torch.testing.assert_close(moved, 0.05 * orthogonalised(gradient), atol=1e-5, rtol=1e-4)


def test_a_network_learns_with_it():
    losses = losses_per_step(trainer(params(optimiser="muon", learning_rate=0.02)), 30)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
