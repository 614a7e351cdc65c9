"""A trainer of a variant on frames that are in memory, as a bare image can make it: without pydantic or shards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fabnet.frames.cache import FrameCache
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.pairs import PairSampler
from fabnet.frames.split import split_identities
from fabnet.networks.build import build
from fabnet.networks.fabnet import OURS
from fabnet.training.batches import Batches
from fabnet.training.loop import Trainer
from fabnet.training.world import World


def trainer_of(values: dict[str, Any], frames: NDArray[np.uint8], device: torch.device) -> Trainer:
    """A trainer of a variant on frames that lie on the device, ready for its first step.

    Args:
        values: of the variant, as params.yaml names them.
        frames: uint8 (people, n, H, W, 3): a track each.
        device: where they lie, and the network.
    """
    people, length, size = frames.shape[:3]
    chosen = split_identities([f"{number:04d}" for number in range(people)], {"train": 85, "validation": 15}, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(values["seed"])
        sizes = size, values["base_filters"], values["embedding_dim"], values["sources"]
        shape = OURS, values["flow_stride"], values["shared_decoder"], values["histograms"] > 0
        model = build(values["objective"], *sizes, *shape)
    world = World(device=device)

    def batches(split: str, seed: int, resident: bool, **options: Any) -> Batches:
        tracks = np.array([number for number in range(people) if chosen[f"{number:04d}"] == split])
        tracks_of = tracks * length, np.full(len(tracks), length)
        sampler = PairSampler(*tracks_of, np.arange(len(tracks)), values["views"] or model.views, seed)
        memory = Memory(frames)
        if not resident:
            return Batches(memory, sampler, values["batch_size"], world, **options)
        cache = FrameCache(memory, *tracks_of, size, None, device)
        cache.load(CorruptFrames(0), 0, split, silent=True)
        return Batches(cache, sampler, values["batch_size"], world, **options)

    augmented = {"mirror": values["flip"], "jitter": values["jitter"], "turn": values["turn"]}
    train = batches("train", 2 * values["seed"], True, **augmented)
    validation = batches("validation", 2 * values["seed"] + 1, False)
    # Their classes need pydantic, which a bare image has not.
    parts = {key: SimpleNamespace(**value) for key, value in values.items() if isinstance(value, dict)}
    params: Any = SimpleNamespace(**(values | parts))
    return Trainer(model, train, validation, params, world, title="gpu_check")


class Memory:
    """Frames that are decoded already, in place of shards: (people, n, H, W, 3), numbered one after the other."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self.frames = frames.reshape(-1, *frames.shape[2:])

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.frames[rows]


def noise(people: int, length: int, size: int) -> NDArray[np.uint8]:
    """Frames for measurements of time, uint8 (people, length, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (people, length, size, size, 3), dtype=np.uint8)
