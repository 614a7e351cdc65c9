"""Our training step as the benchmark runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks._jpegs import Jpegs
from fabnet.frames.pairs import PairSampler
from fabnet.networks.fabnet import FabNet
from fabnet.training.batches import Batches, LoadedBatch
from fabnet.training.loop import Trainer
from fabnet.training.world import World

TRACKS, LENGTH = 64, 8


@dataclass(frozen=True)
class Setting:
    """What is measured, and how often; `repeats` steps make one time of a round."""

    device: torch.device
    size: int
    filters: int
    dimension: int
    batch: int
    rounds: int
    repeats: int
    clock: str
    workers: int

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"


def our_trainer(setting: Setting, sources: int, **changes: Any) -> Trainer:
    values: dict[str, Any] = {
        "objective": "fabnet",
        "samples": 10**9,
        "batch_size": setting.batch,
        "validation_every": 10**9,
        "validation_samples": setting.batch,
        "checkpoint_every": 10**9,
        "views": None,
        "warm_up": 0.0,
        "optimiser": "sgd",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "schedule": "step",
        "drop_at": 1.0,
        "patience": 1,
        "freeze": [],
        "curriculum": None,
        "precision": "bf16",
        "processes": 1,
        "sync_batch_norm": False,
        "compile": False,
        "cuda_graph": False,
        "decoder": "factored",
    }
    start, length = np.arange(TRACKS) * LENGTH, np.full(TRACKS, LENGTH)
    sampler = PairSampler(start, length, np.arange(TRACKS), 1 + sources, 0)
    world = World(device=setting.device)
    batches = Batches(Jpegs(setting.size), sampler, setting.batch, world, workers=setting.workers)
    # What the loop reads of a variant's params; their class needs pydantic, which a bare image has not.
    params: Any = SimpleNamespace(**(values | changes))
    model = FabNet(setting.size, setting.filters, setting.dimension, sources)
    return Trainer(model, batches, batches, params, world)


def graphed(trainer: Trainer, batch: LoadedBatch) -> Callable[[], Any]:
    """A replay of the whole step on `batch` as one CUDA graph; an error where it could not be captured."""
    trainer._train_step(batch)
    if not trainer.training.captured:
        raise RuntimeError("the step could not be captured")
    return lambda: trainer._train_step(batch)
