"""The curriculum against a sort of the batch, and its course over a run."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import params, trainer

from fabnet.config import CurriculumParams
from fabnet.training.schedule import Curriculum, Window, samples_in_window


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=40),
    st.sampled_from([(0, 50), (10, 60), (40, 90), (0, 100), (99, 100), (0, 1)]),
)
def test_the_window_is_that_of_the_sorted_batch(losses, percentiles):
    window = Window(*percentiles)
    first, end = window.ranks(len(losses))
    keep, threshold = samples_in_window(torch.tensor(losses, dtype=torch.float32), torch.tensor([first, end]))
    assert sorted(torch.tensor(losses)[keep].tolist()) == sorted(losses)[first:end]
    assert threshold == sorted(losses)[end - 1]
    assert keep.sum() >= 1


@pytest.mark.parametrize(("batch", "kept"), [(8, 4), (32, 16), (128, 64)])
def test_the_paper_keeps_half_of_every_batch(batch, kept):
    windows = Curriculum(CurriculumParams()).windows
    assert windows == [(0, 50), (10, 60), (20, 70), (30, 80), (40, 90)]
    for window in windows:
        first, end = window.ranks(batch)
        assert abs(end - first - kept) <= batch // 32
    assert windows[0].ranks(batch) == (0, kept)


def test_it_moves_on_where_validation_stalls_and_ends_at_the_last_window():
    curriculum = Curriculum(CurriculumParams(patience=2))
    numbers = []
    for loss in [1.0, 0.9, 0.95, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]:
        curriculum.validated(loss, 0)
        numbers.append(curriculum.number)
    assert numbers == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert curriculum.finished
    assert curriculum.window == (40, 90)


def test_a_window_lasts_no_longer_than_it_may():
    curriculum = Curriculum(CurriculumParams(patience=2, longest=200))
    numbers = []
    for number in range(1, 8):
        curriculum.validated(1 / number, 100 * number)
        numbers.append(curriculum.number)
    assert numbers == [0, 1, 1, 2, 2, 3, 3]


def test_its_state_is_all_of_it():
    first, second = (Curriculum(CurriculumParams(patience=2, longest=500)) for _ in range(2))
    losses = np.random.default_rng(0).random(30)
    for number, loss in enumerate(losses):
        first.validated(loss, 100 * number)
        other = Curriculum(CurriculumParams(patience=2, longest=500))
        other.restore(second.state())
        other.validated(loss, 100 * number)
        second = other
        assert first.state() == second.state()
    assert first.finished


def test_only_the_window_is_learnt_from():
    """The gradient of a step is that of the mean loss of the samples in the window, by a plain sort."""
    run, plain = (trainer(params(curriculum={}, learning_rate=1e-9, optimiser="sgd")) for _ in range(2))
    run.curriculum.number = plain.curriculum.number = 2
    batch = next(run.train.iterate(0, 1))
    loss = run._train_step(batch)
    plain.model.train()
    losses = plain.training.losses(plain.model, plain.train.finish(batch)).minimised
    order = sorted(range(16), key=losses.tolist().__getitem__)
    kept = losses[order[3:11]]  # 20 and 70 percent of 16
    kept.mean().backward()
    for (name, actual), expected in zip(run.model.named_parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, msg=name)
    assert loss.item() == pytest.approx(losses.mean().item(), rel=1e-6)
    assert run.training.sums.tolist() == pytest.approx(
        [value.item() for value in (losses.mean(), kept.mean(), kept.max())], rel=1e-6
    )


def test_a_run_through_all_windows():
    """The learning rate drops in the last window only, and validation sees all samples whatever the window."""
    values = params(
        samples=1600,
        validation_every=16,
        curriculum={"patience": 1},
        schedule="plateau",
        patience=1,
        learning_rate=0.05,
    )
    result = trainer(values).run()
    rows = result.curriculum
    assert [row.window for row in rows] == sorted(row.window for row in rows)
    assert {(row.window, row.low, row.high) for row in rows} == {(n, 10 * n, 10 * n + 50) for n in range(5)}
    assert sum(row.kept for row in rows) == 1600 / 2
    rate = {point.step: point.learning_rate for point in result.history if point.split == "train"}
    assert {rate[row.step] for row in rows if row.window < 4} == {0.05}
    assert min(rate.values()) < 0.05
    losses = {point.step: point.loss for point in result.history if point.split == "train"}
    easy, hard = (np.mean([row.loss / losses[row.step] for row in rows if row.window == window]) for window in (0, 4))
    assert easy < 0.9 < hard
    assert all(row.loss <= row.threshold for row in rows)
    assert all(math.isfinite(row.threshold) for row in rows)


def test_without_a_curriculum_there_are_no_rows():
    assert trainer(params()).run().curriculum == []
