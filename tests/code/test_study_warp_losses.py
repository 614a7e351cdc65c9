"""Losses of the warp in the study of objectives: against libraries, and only while they replace the usual one."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from small_runs import params, trainer

from fabnet.training import step
from studies.warp_losses import LOSSES, census, gradients, replacing, ssim


def pictures(seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 16, 16, generator=random) * 2 - 1, torch.rand(2, 3, 16, 16, generator=random) * 2 - 1


@pytest.mark.parametrize("name", LOSSES)
def test_a_frame_that_is_right_costs_nothing_and_others_do(name):
    made, true = pictures()
    torch.testing.assert_close(LOSSES[name](true, true), torch.zeros(2), atol=1e-6, rtol=0)
    assert (LOSSES[name](made, true) > 0.1).all()
    nearer = true + 0.1 * (made - true)
    assert (LOSSES[name](nearer, true) < LOSSES[name](made, true)).all()


def test_ssim_is_that_of_filters_of_scipy():
    made, true = (((each + 1) / 2).numpy() for each in pictures())

    def windows(picture):
        return ndimage.uniform_filter(picture, (1, 1, 3, 3))[:, :, 1:-1, 1:-1]

    mean_a, mean_b = windows(made), windows(true)
    a, b, both = windows(made**2) - mean_a**2, windows(true**2) - mean_b**2, windows(made * true) - mean_a * mean_b
    same = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4) / ((mean_a**2 + mean_b**2 + 1e-4) * (a + b + 9e-4))
    expected = 0.85 * ((1 - same) / 2).mean(axis=(1, 2, 3)) + 0.15 * np.abs(made - true).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(ssim(*pictures()), expected, rtol=1e-4)


def test_gradients_are_those_of_numpy():
    made, true = pictures()
    off = (made - true).numpy()
    edges = sum(np.abs(np.diff(off, axis=axis)).mean(axis=(1, 2, 3)) for axis in (2, 3))
    np.testing.assert_allclose(gradients(made, true), np.abs(off).mean(axis=(1, 2, 3)) + 2.5 * edges, rtol=1e-5)


def test_census_forgets_a_change_of_light():
    made, true = pictures()
    light = true * 0.8 + 0.1
    assert (census(light, true) - 0.5 * (light - true).abs().mean(dim=(1, 2, 3)) < 0.02).all()
    assert (census(made, true) > 0.5).all()


def test_steps_minimise_it_while_it_is_there():
    values = params(sources=3, views=4)
    usual = step.every_view_loss
    run = trainer(values)
    batch = run.train.finish(next(iter(run.train.iterate(0, 1))))
    with replacing("ssim"):
        told = run.training.losses(run.training.network, batch).told
    assert step.every_view_loss is usual
    run.model.train()
    generated = run.model(batch.views)
    expected = torch.stack([ssim(made[0], true) for made, true in zip(generated, batch.views, strict=True)]).mean(dim=0)
    torch.testing.assert_close(told, expected)
    with replacing(None):
        assert step.every_view_loss is usual


def test_padding_counts_for_nothing_and_single_sources_are_refused():
    made = torch.stack([each for seed in range(3) for each in (pictures(seed)[0],)])[:, None]
    true = torch.stack([pictures(seed)[1] for seed in range(3)])
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    with replacing("gradients"):
        found = step.every_view_loss(made, true, mask)
        alone = step.every_view_loss(made[:2, :, 1:], true[:2, 1:], None)
        with pytest.raises(ValueError, match="merge all sources"):
            step.every_view_loss(made.expand(-1, 2, -1, -1, -1, -1), true, None)
    torch.testing.assert_close(found[1:], alone)
