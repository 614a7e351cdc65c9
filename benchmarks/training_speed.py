"""Samples per second of the training loop against a bare step on a batch that is already there, in one run.

The bare step is the floor: forward, backward and optimiser on one tensor. What the loop adds is sampling, reading,
decoding, augmentation and logging. Run with `make bench`.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks._jpegs import Jpegs
from fabnet.config import VariantParams, load_params
from fabnet.frames.cache import FrameCache
from fabnet.frames.pairs import PairSampler
from fabnet.networks.build import build
from fabnet.networks.fabnet import OURS
from fabnet.training.batches import Batches
from fabnet.training.loop import Trainer
from fabnet.training.world import World

SIZE, TRACKS, LENGTH, STEPS, ROUNDS = 64, 150, 24, 60, 3


def make(params: VariantParams, frames: Jpegs, cache_bytes: int) -> Trainer:
    shape = params.sources, OURS, params.flow_stride, params.shared_decoder, params.histograms > 0
    model = build(params.objective, SIZE, params.base_filters, params.embedding_dim, *shape)
    start, length = np.arange(TRACKS) * LENGTH, np.full(TRACKS, LENGTH)
    cache = FrameCache(frames, start, length, SIZE, cache_bytes)
    if cache_bytes:
        cache.decode(np.arange(TRACKS * LENGTH))
    world = World(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    sampler = PairSampler(start, length, np.arange(TRACKS), params.views or model.views, 0)
    batches = Batches(cache, sampler, params.batch_size, world, mirror=params.flip, workers=params.workers)
    return Trainer(model, batches, batches, params, world, Path(tempfile.gettempdir()) / "unused.pt")


def rate(trainer: Trainer, fixed: bool) -> float:
    """Samples per second over STEPS steps."""
    views = next(trainer.train.iterate(0, 1))
    trainer._train_step(views)
    started = time.perf_counter()
    if fixed:
        for _ in range(STEPS):
            loss = trainer._train_step(views)
    else:
        for batch in trainer.train.iterate(0, STEPS):
            loss = trainer._train_step(batch)
    float(loss)  # waits for the device
    return STEPS * trainer.params.batch_size / (time.perf_counter() - started)


def main() -> None:
    torch.set_flush_denormal(True)
    frames = Jpegs(SIZE, TRACKS * LENGTH)
    train = load_params().train
    print(f"{'variant':14}{'bare step':>12}{'cached':>12}{'ratio':>8}{'decoding':>12}{'ratio':>8}   samples/s")
    for variant in train.names:
        params = train.variant(variant)
        cached, decoding = make(params, frames, 2**30), make(params, frames, 0)
        rates = [(rate(cached, True), rate(cached, False), rate(decoding, False)) for _ in range(ROUNDS)]
        bare, kept, decoded = (statistics.median(column) for column in zip(*rates, strict=True))
        print(f"{variant:14}{bare:12.0f}{kept:12.0f}{kept / bare:8.2f}{decoded:12.0f}{decoded / bare:8.2f}")


if __name__ == "__main__":
    main()
