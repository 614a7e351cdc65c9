"""The loss of copying, which a network must beat: its value, when it is computed, and who is told."""

import logging

import numpy as np
import pytest
import torch
from small_runs import params, trainer

from fabnet.training.history import below_copying, told
from fabnet.training.loop import Trainer
from fabnet.training.objective import copying_loss


@pytest.mark.parametrize("every_view", [False, True])
@pytest.mark.parametrize("merges", [False, True])
def test_the_loss_of_copying_is_that_of_a_loop_over_pictures(merges, every_view):
    views_VBCHW = torch.rand(4, 5, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask_VB = torch.ones(4, 5, dtype=torch.bool)
    mask_VB[2:, 1] = mask_VB[3, 2] = False
    expected = []
    for sample in range(5):
        real = [view.numpy() for view, there in zip(views_VBCHW[:, sample], mask_VB[:, sample], strict=True) if there]
        losses = []
        for number, target in enumerate(real if every_view else real[:1]):
            sources = [view for other, view in enumerate(real) if other != number]
            shown = [np.abs(source - target).mean() for source in sources]
            losses += [min(*shown, np.abs(np.mean(sources, axis=0) - target).mean(), 9)] if merges else shown
        expected.append(np.mean(losses))
    np.testing.assert_allclose(copying_loss(views_VBCHW, mask_VB, merges, every_view), expected, rtol=1e-5)


def told_to_look(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def moving_nothing(**changes) -> Trainer:
    """A run whose flow is zero, whatever the decoder's weights."""
    run = trainer(params(validation_every=80, **changes))
    run.model.flow_decoder.register_forward_hook(lambda module, inputs, output: 0 * output)
    return run


@pytest.mark.parametrize("changes", [{}, {"views": 4}, {"sources": 3}, {"sources": 3, "views": 4}])
def test_a_network_that_moves_nothing_still_copies_and_is_told_twice(changes, caplog):
    """Its loss is that of copying for a single source; no choice among several sources counts as learning."""
    run = moving_nothing(**changes)
    result = run.run()
    shares = [point.below_copying for point in result.history if point.split == "validation"]
    assert len(shares) == 4
    if "sources" in changes:
        assert max(shares) < 0.001
    else:
        assert shares == pytest.approx([0] * 4, abs=1e-5)
    half, end = told_to_look(caplog)
    assert "it still copies: after 160 of 320 samples" in half
    assert "it still copies: after 320 of 320 samples" in end
    assert "should be 2 % below. What helps: a higher learning_rate" in end


def test_a_network_that_copies_under_a_curriculum_is_told_to_begin_without(caplog):
    moving_nothing(curriculum={"patience": 1}).run()
    assert "What helps: no `curriculum` before it has stopped copying, a higher" in told_to_look(caplog)[-1]


@pytest.mark.parametrize("changes", [{}, {"sources": 3}])
def test_a_network_that_learns_is_below_copying_and_told_nothing(changes, caplog):
    run = trainer(params(learning_rate=0.01, samples=640, validation_every=160, **changes))
    result = run.run()
    validated = [point for point in result.history if point.split == "validation"]
    assert {point.copying for point in validated} == {result.copying}
    assert {point.copying for point in result.history if point.split == "train"} == {None}
    assert below_copying(result.best_loss, result.copying) > 0.1
    assert not told_to_look(caplog)


def test_the_line_of_progress_says_how_far_below_copying_it_is(caplog):
    run = trainer(params(learning_rate=0.01))
    with caplog.at_level(logging.INFO):
        run.run()
    last = next(point for point in reversed(run.history) if point.split == "validation")
    assert caplog.messages[-1].endswith(f", {100 * last.below_copying:.1f} % below copying")
    assert told(-0.004) == "0.4 % above copying"


def test_copying_is_computed_once_and_again_only_by_a_run_that_did_not_know(monkeypatch):
    calls = []
    monkeypatch.setattr("fabnet.training.loop.copying_loss", lambda *given: calls.append(given) or copying_loss(*given))
    run = trainer(params())
    first, second = (run.validate() for _ in range(2))
    assert first == second
    assert len(calls) == 3  # batches of 40 samples, 16 at a time
    resumed = trainer(params())
    resumed.load_state_dict(run.state_dict())
    assert resumed.validate() == first
    assert resumed.copying == run.copying
    assert len(calls) == 3


@pytest.mark.parametrize("objective", ["autoencoder", "rotation", "split_brain"])
def test_objectives_without_a_source_have_no_copying(objective, caplog):
    result = trainer(params(objective=objective, samples=32)).run()
    assert result.copying is None
    assert {point.copying for point in result.history} == {None}
    assert not told_to_look(caplog)


def test_frames_in_which_nothing_moves_have_no_share():
    assert below_copying(0.1, 0.0) is None
