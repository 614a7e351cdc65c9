"""Training: golden curve, variants, schedule, cache, and a loss that is not finite."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from small_runs import SIZE, Blobs, losses_per_step, params, trainer

from fabnet.config import VariantParams
from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.frames.cache import FrameCache
from fabnet.networks import decoder
from fabnet.training import checkpoint
from fabnet.training.objective import reconstruction_loss
from fabnet.training.schedule import Schedule
from fabnet.training.world import warn_of_emulation

GOLDEN = Path(__file__).parent / "golden_loss.json"


def test_golden_curve():
    """Twenty seeded steps give the committed losses. Regenerate the file only with a reason in the changelog."""
    losses = losses_per_step(trainer(params(jitter=0.1)), 20)
    np.testing.assert_allclose(losses, read_json(GOLDEN), rtol=2e-4)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@pytest.mark.parametrize(("sources", "length"), [(1, 10), (3, 10), (3, 2), (5, 4)])
def test_sources_learn(sources, length):
    """Also from tracks that have fewer frames than views."""
    losses = losses_per_step(trainer(params(sources=sources, learning_rate=0.01), length=length), 30)
    assert np.mean(losses[-10:]) < 0.97 * np.mean(losses[:10])


@pytest.mark.parametrize("objective", ["autoencoder", "rotation", "split_brain"])
def test_baselines_learn(objective):
    losses = losses_per_step(trainer(params(objective=objective, learning_rate=0.003)), 60)
    assert np.mean(losses[-10:]) < 0.97 * np.mean(losses[:10])


@pytest.mark.parametrize("changes", [{}, {"sources": 3}, {"objective": "autoencoder"}])
def test_a_factored_decoder_trains_alike(changes, monkeypatch):
    """At a small learning rate, at which rounding does not grow from step to step."""
    # Which code ran is counted, as the digits of small losses may agree.
    products = Mock(wraps=decoder.convolve_upsampled)
    monkeypatch.setattr(decoder, "convolve_upsampled", products)
    direct = losses_per_step(trainer(params(**changes, decoder="direct", learning_rate=1e-4)), 5)
    assert products.call_count == 0
    run = trainer(params(**changes, decoder="factored", learning_rate=1e-4))
    factored = losses_per_step(run, 5)
    axes = [name for name, _ in run.model.named_buffers() if ".axis_" in name]
    assert products.call_count == 5 * len(axes) > 0
    np.testing.assert_allclose(factored, direct, rtol=1e-4)


def test_a_frozen_decoder_keeps_its_weights_and_the_encoder_learns():
    """Its batch norm goes on with its statistics, as the released code has it."""
    run = trainer(params(sources=3, start_from="other", freeze=["flow_decoder"]))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    losses_per_step(run, 3)
    for name, value in run.model.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("flow_decoder"), name
    assert not torch.equal(run.model.flow_decoder.layers[3].running_mean, before["flow_decoder.layers.3.running_mean"])


def test_loss_is_the_mean_absolute_difference_of_each_sample():
    generated, target = torch.rand(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = [np.abs(g - t).mean() for g, t in zip(generated.numpy(), target.numpy(), strict=True)]
    np.testing.assert_allclose(reconstruction_loss(generated, target), expected, rtol=1e-6)


@pytest.mark.parametrize("objective", ["fabnet", "autoencoder", "rotation", "split_brain"])
def test_threads_and_cache_do_not_change_the_run(objective):
    plain = losses_per_step(trainer(params(objective=objective)), 6)
    threaded = losses_per_step(trainer(params(objective=objective, workers=2)), 6)
    assert plain == threaded


def test_cache_returns_what_it_caches_and_decodes_each_kept_frame_once():
    frames = Blobs()
    # Four tracks of ten frames from row 10 on, and memory for two and a half of them.
    cache = FrameCache(frames, np.array([10, 20, 30, 40]), np.full(4, 10), SIZE, limit=25 * 3 * SIZE * SIZE)
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = rng.choice(np.arange(10, 50), 8, replace=False)
        np.testing.assert_array_equal(cache.decode(rows), frames.frames[rows])
    before = frames.decoded
    cache.decode(np.arange(10, 30))
    assert frames.decoded == before
    cache.decode(np.arange(30, 50))
    assert frames.decoded == before + 20


def test_best_weights_have_the_lowest_validation_loss():
    run = trainer(params())
    result = run.run()
    validation = {point.step: point.loss for point in result.history if point.split == "validation"}
    assert result.best_loss == min(validation.values())
    assert validation[result.best_step] == result.best_loss
    assert [point.samples for point in result.history if point.split == "train"][-1] == 320


def test_validation_weights_every_sample_alike():
    """40 samples in batches of 16 are 16 + 16 + 8: the mean is over samples, not over batches."""
    run = trainer(params())
    run.model.eval()
    sampler = run.validation.sampler
    rows = sampler.draw(torch.arange(40)).rows.numpy()
    views = torch.from_numpy(Blobs().frames[rows.T]).movedim(-1, -3).float() * 2 / 255 - 1
    with torch.no_grad():
        expected = float((run.model(views) - views[0]).abs().mean())
    assert run.validate() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "muon"])
def test_a_loss_that_is_not_finite_takes_no_step_and_can_be_seen_again(tmp_path, optimiser):
    """The loss of step 13 is made infinite; the loop learns of it at step 15, and weights are those before step 13."""
    run = trainer(params(optimiser=optimiser), tmp_path / "checkpoint.pt")
    take, before = run._train_step, {}

    def poisoned(batch):
        if run.step == 12:
            with torch.no_grad():
                run.model.encoder.layers[-1].weight.fill_(3e38)
            before.update({name: value.clone() for name, value in run.model.named_parameters()})
        return take(batch)

    run._train_step = poisoned
    with pytest.raises(UserError, match=r"not finite in step 13, which was not taken; \S+not_finite.pt holds"):
        run.run()
    for name, value in run.model.named_parameters():
        assert torch.equal(value, before[name]), name
    assert checkpoint.load(tmp_path / "checkpoint.pt")["step"] == 10

    kept = torch.load(tmp_path / "not_finite.pt", weights_only=True)
    assert kept["step"] == 13
    replay = trainer(VariantParams.model_validate(kept["params"]))
    replay.model.load_state_dict(kept["model"])
    batch = replay.train.finish(replay.train.load(kept["batch"]))
    assert batch.numbers.tolist() == kept["samples"]
    assert replay.train.sampler.draw(batch.numbers).rows.tolist() == kept["rows"]
    replay.model.train()
    assert not torch.isfinite(replay.training.losses(replay.model, batch).minimised.mean())


def test_a_loss_that_is_not_finite_is_told_of_on_a_full_disk_too(tmp_path, monkeypatch):
    run = trainer(params(), tmp_path / "checkpoint.pt")
    run.training.guard.found.fill_(1)
    run.training.guard.first.fill_(3)
    run.step = 5

    def full(state, temporary):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    message = r"not finite in step 3, which was not taken; \S+not_finite.pt, which .* not be written \(.*No space left"
    with pytest.raises(UserError, match=message):
        run._log()
    assert list(tmp_path.iterdir()) == []


def test_a_validation_loss_that_is_not_finite_stops_the_run():
    run = trainer(params())
    with torch.no_grad():
        run.model.encoder.layers[0].weight.fill_(float("nan"))
    with pytest.raises(UserError, match="validation loss became nan"):
        run.validate()


def test_schedules():
    linear = Schedule(params(schedule="linear", samples=100))
    assert [linear.at(samples) for samples in (0, 25, 100, 103)] == [1, 0.75, 0, 0]
    warming = Schedule(params(schedule="step", drop_at=1.0, samples=100, batch_size=10, warm_up=0.4))
    assert [warming.at(samples) for samples in (0, 10, 30, 40, 90)] == [0.25, 0.5, 1, 1, 1]
    step = Schedule(params(schedule="step", drop_at=0.7, samples=100))
    assert [step.at(samples) for samples in (0, 69, 70, 99)] == [1, 1, 0.1, 0.1]
    plateau = Schedule(params(schedule="plateau", patience=2))
    for loss, expected in [(1.0, 1), (0.9, 1), (0.95, 1), (0.9, 0.1), (0.8, 0.1), (0.85, 0.1), (0.85, 0.01)]:
        plateau.validated(loss)
        assert plateau.at(0) == pytest.approx(expected)


def test_bf16_follows_fp32():
    """The first step's loss agrees to a percent and its gradient points the same way."""
    steps = {}
    for precision in ("fp32", "bf16"):
        run = trainer(params(precision=precision))
        (loss,) = losses_per_step(run, 1)
        steps[precision] = loss, torch.cat([parameter.grad.flatten() for parameter in run.model.parameters()])
    assert steps["bf16"][0] == pytest.approx(steps["fp32"][0], rel=0.01)
    assert torch.cosine_similarity(steps["bf16"][1], steps["fp32"][1], dim=0) > 0.98


def test_emulated_bf16_is_said_once_and_fp32_never(monkeypatch, capsys):
    monkeypatch.setattr("fabnet.training.world.has_bf16", lambda device: False)
    warn_of_emulation.cache_clear()
    for _ in range(2):
        trainer(params(precision="bf16", samples=64)).run()
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert said == (
        "warning: train: precision bf16 is emulated on this processor, about 8 times slower than fp32; "
        "set precision: fp32"
    )
    trainer(params(samples=64)).run()
    assert "warning" not in capsys.readouterr().err


def test_a_cpu_is_asked_what_it_has():
    """An old processor is simulated by what oneDNN may use: in a process of its own, for it asks once."""
    asked = "import torch; from fabnet.training.world import has_bf16; print(has_bf16(torch.device('cpu')))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
