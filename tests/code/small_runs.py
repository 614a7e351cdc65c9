"""A training run that takes a second: frames with one bright square, networks of four filters."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from whole_sections import variant_params

from fabnet.config import VariantParams
from fabnet.frames.cache import FrameCache
from fabnet.frames.corrupt import CorruptFrame, CorruptFrames
from fabnet.frames.pairs import PairSampler
from fabnet.networks.build import build
from fabnet.networks.fabnet import OURS
from fabnet.training.batches import Batches
from fabnet.training.loop import Trainer
from fabnet.training.world import World

SIZE = 16


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


class Damaged(Blobs):
    """Some of whose frames cannot be decoded."""

    def __init__(self, corrupt: set[int]) -> None:
        super().__init__()
        self.corrupt = corrupt

    def decode(self, rows):
        for row in rows:
            if int(row) in self.corrupt:
                raise CorruptFrame(f"frame {row} cannot be decoded", int(row))
        return super().decode(rows)


def params(**changes) -> VariantParams:
    values = {
        "embedding_dim": 16,
        "samples": 320,
        "batch_size": 16,
        "validation_every": 80,
        "validation_samples": 40,
        "learning_rate": 0.002,
        "schedule": "step",
        "checkpoint_every": 80,
        "workers": 0,
    }
    return variant_params(**values | changes)


def network(values: VariantParams):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(values.seed)
        shape = values.sources, OURS, values.flow_stride, values.shared_decoder, values.histograms > 0
        return build(values.objective, SIZE, values.base_filters, values.embedding_dim, *shape)


def normalised_alone(model: nn.Module) -> nn.Module:
    """Every batch norm of `model` replaced by a norm of each sample, whose result no other sample changes."""
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            setattr(model, name, nn.GroupNorm(1, layer.num_features))
        else:
            normalised_alone(layer)
    return model


def trainer(
    values: VariantParams,
    path: Path | None = None,
    frames=None,
    world: World | None = None,
    length=10,
    alone=False,
    resident=False,
    **options,
) -> Trainer:
    """Six tracks to train on, of `length` frames; validation on the first two, 16 samples at a time.

    `alone`: samples do not meet in a batch norm, so that it does not matter how a batch is shared out.
    `resident`: the device of `world` holds all frames and draws samples itself.
    """
    model = normalised_alone(network(values)) if alone else network(values)
    world = world or World()
    corrupt = CorruptFrames(values.corrupt_limit)

    def batches(tracks: int, seed: int, batch_size: int, **augmentation) -> Batches:
        place = np.arange(tracks) * 10, np.full(tracks, length)
        kept = frames or Blobs()
        if resident:
            kept = FrameCache(kept, *place, SIZE, None, world.device)
            kept.load(corrupt, 2, "frames", silent=True)
        sampler = PairSampler(*place, np.arange(tracks), values.views or model.views, seed)
        return Batches(kept, sampler, batch_size, world, corrupt=corrupt, **augmentation)

    train = batches(6, values.seed, values.batch_size, mirror=True, jitter=values.jitter, workers=values.workers)
    return Trainer(model, train, batches(2, 99, 16), values, world, path, **options)


def losses_per_step(run: Trainer, steps: int) -> list[float]:
    """Losses of the first steps, at the learning rate of the first."""
    return [float(run._train_step(batch)) for batch in run.train.iterate(0, steps)]
