"""Training: golden curve, resume, schedule, cache, and what stops a run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fabnet.config import VariantParams
from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.frames.pairs import PairSampler
from fabnet.networks.build import build
from fabnet.training import checkpoint
from fabnet.training.batches import Batches, FrameCache
from fabnet.training.loop import Trainer
from fabnet.training.objective import reconstruction_loss
from fabnet.training.schedule import Schedule

SIZE = 16
GOLDEN = Path(__file__).parent / "golden_loss.json"


class Blobs:
    """Frames with one bright square each, that moves from frame to frame of a track."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.frames = np.full((60, SIZE, SIZE, 3), 40, dtype=np.uint8)
        for frame in self.frames:
            x, y = rng.integers(0, SIZE - 5, 2)
            frame[y : y + 5, x : x + 5] = (220, 180, 160)
        self.decoded = 0

    def decode(self, rows):
        self.decoded += len(rows)
        return self.frames[rows]


def params(**changes) -> VariantParams:
    values = {
        "base_filters": 4,
        "embedding_dim": 16,
        "samples": 320,
        "batch_size": 16,
        "validation_every": 80,
        "validation_samples": 40,
        "learning_rate": 0.002,
        "precision": "fp32",
        "checkpoint_every": 80,
        "workers": 0,
    }
    return VariantParams(**(values | changes))


def trainer(values: VariantParams, path: Path | None = None, frames: Blobs | None = None, **options) -> Trainer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(values.seed)
        model = build(values.objective, SIZE, values.base_filters, values.embedding_dim)
    frames = frames or Blobs()
    device = torch.device("cpu")
    sampler = PairSampler(np.arange(6) * 10, np.full(6, 10), np.arange(6), model.views, values.seed)
    train = Batches(
        frames, sampler, values.batch_size, device, mirror=True, jitter_amount=values.jitter, workers=values.workers
    )
    validation = Batches(
        frames, PairSampler(np.arange(2) * 10, np.full(2, 10), np.arange(2), model.views, 99), 16, device
    )
    return Trainer(model, train, validation, values, device, path, **options)


def losses_per_step(run: Trainer, steps: int) -> list[float]:
    return [float(run._train_step(views)) for views in run.train.iterate(0, steps)]


def test_golden_curve():
    """Twenty seeded steps give the committed losses. Regenerate the file only with a reason in the changelog."""
    losses = losses_per_step(trainer(params(jitter=0.1)), 20)
    np.testing.assert_allclose(losses, read_json(GOLDEN), rtol=2e-4)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_loss_is_the_mean_absolute_difference_of_each_sample():
    generated, target = torch.rand(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = [np.abs(g - t).mean() for g, t in zip(generated.numpy(), target.numpy(), strict=True)]
    np.testing.assert_allclose(reconstruction_loss(generated, target), expected, rtol=1e-6)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, optimiser):
    values = params(optimiser=optimiser, schedule="plateau", patience=1)
    whole = trainer(values).run()

    class Killed(Exception):
        pass

    def kill(point):
        if point.step >= 13:
            raise Killed

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        trainer(values, path, on_point=kill).run()
    interrupted_at = checkpoint.load(path)["step"]
    assert 0 < interrupted_at < 13
    resumed = trainer(values, path)
    result = resumed.run()
    assert result.history == whole.history
    assert (result.best_step, result.best_loss) == (whole.best_step, whole.best_loss)
    for name, value in whole.last.items():
        assert torch.equal(value, result.last[name]), name
    for name, value in whole.best.items():
        assert torch.equal(value, result.best[name]), name


@pytest.mark.parametrize("objective", ["fabnet", "autoencoder"])
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
    rows = sampler.draw(np.arange(40)).rows
    views = torch.from_numpy(Blobs().frames[rows.T]).movedim(-1, -3).float() * 2 / 255 - 1
    with torch.no_grad():
        expected = float((run.model(views) - views[0]).abs().mean())
    assert run.validate() == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    run = trainer(params(), path)

    def poison(point):
        if point.step == 10:
            with torch.no_grad():
                next(run.model.parameters()).fill_(float("nan"))

    run.on_point = poison
    with pytest.raises(UserError, match="loss became nan"):
        run.run()
    state = checkpoint.load(path)
    assert state["step"] <= 10
    assert all(torch.isfinite(value).all() for value in state["best"].values() if value.is_floating_point())


def test_schedules():
    step = Schedule(params(schedule="step", drop_at=0.7, samples=100))
    assert [step.at(samples) for samples in (0, 69, 70, 99)] == [1, 1, 0.1, 0.1]
    plateau = Schedule(params(schedule="plateau", patience=2))
    for loss, expected in [(1.0, 1), (0.9, 1), (0.95, 1), (0.9, 0.1), (0.8, 0.1), (0.85, 0.1), (0.85, 0.01)]:
        plateau.validated(loss)
        assert plateau.at(0) == pytest.approx(expected)


def test_an_unreadable_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be read"):
        checkpoint.load(path)


def test_bf16_follows_fp32():
    """The first step's loss agrees to a percent and its gradient points the same way."""
    steps = {}
    for precision in ("fp32", "bf16"):
        run = trainer(params(precision=precision))
        (loss,) = losses_per_step(run, 1)
        steps[precision] = loss, torch.cat([parameter.grad.flatten() for parameter in run.model.parameters()])
    assert steps["bf16"][0] == pytest.approx(steps["fp32"][0], rel=0.01)
    assert torch.cosine_similarity(steps["bf16"][1], steps["fp32"][1], dim=0) > 0.98
