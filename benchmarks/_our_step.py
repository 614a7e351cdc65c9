"""The training steps that benchmarks compare: the port of the authors' loop, and ours in the ways it can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._authors_loop import AuthorsLoop
from benchmarks._floor import Ceilings, layers
from benchmarks._jpegs import Jpegs
from fabnet.frames.augment import to_float
from fabnet.frames.cache import FrameCache, Frames
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.pairs import PairSampler
from fabnet.networks.decoder import Decoder, upsampling_matrix
from fabnet.networks.fabnet import FabNet, merge, warp
from fabnet.training.batches import Batch, Batches, LoadedBatch
from fabnet.training.loop import Trainer
from fabnet.training.objective import reconstruction_loss
from fabnet.training.step import Losses
from fabnet.training.world import World, autocast

TRACKS, LENGTH = 64, 8

FP32, TF32, OURS = "authors' loop, fp32", "authors' loop, tf32", "ours"


@dataclass(frozen=True)
class Setting:
    """What is measured, and how often; `repeats` steps make one time of a round, None: as many as a fifth of a second
    takes."""

    device: torch.device
    size: int
    filters: int
    dimension: int
    batch: int
    rounds: int
    repeats: int | None
    clock: str
    workers: int

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def drawn(self, sources: int) -> LoadedBatch:
        """A batch of noise on the device."""
        shape = (1 + sources, self.batch, self.size, self.size, 3)
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(self.device)
        return LoadedBatch(pictures, None, torch.arange(self.batch, device=self.device))


class Step(Protocol):
    """A step that is run again and again. It owns whatever it reads: a CUDA graph keeps no memory alive by itself."""

    def __call__(self) -> Any: ...


class AuthorsStep:
    """The port of the authors' loop on one batch, in float32 or with TF32."""

    def __init__(self, setting: Setting, batch: LoadedBatch, tf32: bool = False) -> None:
        assert batch.pictures is not None
        self.loop = AuthorsLoop(setting.size, setting.filters, setting.dimension, setting.device)
        self.views = [view.contiguous() for view in to_float(batch.pictures)]
        self.tf32 = tf32

    def __call__(self) -> None:
        with _tf32(self.tf32):
            self.loop.step(self.views)


@contextmanager
def _tf32(on: bool) -> Iterator[None]:
    """Whether float32 products and convolutions may be rounded to TF32 meanwhile; by default convolutions may."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = on
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class OurStep:
    """Our step, as a CUDA graph where the params ask for it. `feed` takes another batch than the one it was made for.

    Raises:
        RuntimeError: it could not be captured.
    """

    def __init__(self, trainer: Trainer, batch: LoadedBatch) -> None:
        self.trainer, self.batch = trainer, batch
        self()
        if trainer.params.cuda_graph and not trainer.training.captured:
            raise RuntimeError("the step could not be captured as a CUDA graph")

    def __call__(self) -> None:
        self.feed(self.batch)

    def feed(self, batch: LoadedBatch) -> None:
        self.trainer._train_step(batch)


def our_trainer(setting: Setting, sources: int, resident: bool = False, **changes: Any) -> Trainer:
    """A trainer of FabNet on smooth random frames.

    Args:
        setting: of the comparison.
        sources: of a sample.
        resident: all frames lie decoded on the device; else they are JPEGs that threads decode.
        changes: of the params.
    """
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
    frames: Frames = Jpegs(setting.size)
    if resident:
        cache = FrameCache(frames, start, length, setting.size, None, setting.device)
        cache.load(CorruptFrames(0), setting.workers, "frames", silent=True)
        frames = cache
    batches = Batches(frames, sampler, setting.batch, world, workers=setting.workers)
    # What the loop reads of a variant's params; their class needs pydantic, which a bare image has not.
    params: Any = SimpleNamespace(**(values | changes))
    model = FabNet(setting.size, setting.filters, setting.dimension, sources)
    return Trainer(model, batches, batches, params, world)


# -- other ways to run the same step --------------------------------------------------------------------------------


class UpsampleByProducts(nn.Module):
    """nn.Upsample, bilinear to twice the size, as two matrix products on a map that lies channels last.

    Its backward is two products as well, where CUDA's of `interpolate` adds atomically.
    """

    matrix_Hh: Tensor

    def __init__(self, size: int, align_corners: bool) -> None:
        super().__init__()
        self.register_buffer("matrix_Hh", upsampling_matrix(size, 2, align_corners), persistent=False)

    def forward(self, image_BChw: Tensor) -> Tensor:
        batch, channels, size, _ = image_BChw.shape
        rows = image_BChw.permute(0, 2, 3, 1).reshape(batch, size, size * channels)
        tall = torch.matmul(self.matrix_Hh, rows).view(batch * 2 * size, size, channels)
        wide = torch.matmul(self.matrix_Hh, tall)
        return wide.view(batch, 2 * size, 2 * size, channels).permute(0, 3, 1, 2)


def upsample_by_products(model: nn.Module) -> None:
    """Replace every nn.Upsample of the decoders in `model`; the same function up to rounding."""
    for decoder in decoders(model):
        places = [place for place, layer in enumerate(decoder.layers) if isinstance(layer, nn.Upsample)]
        for level, place in enumerate(places):
            own = decoder.layers[place]
            assert isinstance(own, nn.Upsample)
            own_device = next(decoder.parameters()).device
            decoder.layers[place] = UpsampleByProducts(2**level, bool(own.align_corners)).to(own_device)


def factor_where_it_pays(model: FabNet, sources: int, size: int, ceiling: Ceilings) -> None:
    """Leave `factored` to the layers of the decoders for which its operations and bytes take less than `direct`'s.

    Args:
        model: its trainer has the decoder `factored`.
        sources: of a sample.
        size: H = W of a frame.
        ceiling: of the device.
    """
    for layer in layers(model, sources, size):
        part, _, place = layer.name.rpartition(".layers.")
        axis = f"axis_{int(place) - 1}"
        decoder = model.get_submodule(part)
        if hasattr(decoder, axis) and layer.factored().seconds(ceiling) > layer.direct().seconds(ceiling):
            delattr(decoder, axis)


def compile_regions(trainer: Trainer, backend: str = "inductor") -> None:
    """Compile the decoders, and what is behind them (warp, merge and loss), rather than the step as a whole.

    Args:
        trainer: of FabNet, without `views`.
        backend: of torch.compile.
    """
    model = trainer.model
    assert isinstance(model, FabNet)
    for decoder in decoders(model):
        decoder.compile(backend=backend, dynamic=False)

    def tail(views_VBCHW: Tensor, flow: Tensor, logits: Tensor) -> Tensor:
        sources = len(views_VBCHW) - 1
        warped_NBCHW = warp(views_VBCHW[1:].flatten(0, 1), flow).unflatten(0, (sources, -1))
        if sources == 1:
            return reconstruction_loss(warped_NBCHW[0], views_VBCHW[0])
        shares_NB1HW = logits.unflatten(0, (sources, -1)).float().softmax(dim=0)
        return reconstruction_loss(merge(warped_NBCHW, shares_NB1HW), views_VBCHW[0])

    compiled = torch.compile(tail, backend=backend, dynamic=False)

    def losses(_: Any, batch: Batch) -> Losses:
        with autocast(trainer.params.precision, trainer.world.device):
            flow, logits = model._decoded(model._pairs(batch.views[1:], batch.views[0]))
            result: Tensor = compiled(batch.views, flow, logits)
        return Losses(result, result)

    trainer.training.losses = losses  # type: ignore[method-assign, assignment]


def planar(trainer: Trainer) -> None:
    """Lay the network and its frames out as planes of channels in memory (NCHW), which costs a copy of the frames."""
    trainer.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    plain = trainer.training.losses

    def losses(network: Any, batch: Batch) -> Losses:
        return plain(network, batch._replace(views=batch.views.contiguous()))

    trainer.training.losses = losses  # type: ignore[method-assign]


def decoders(model: nn.Module) -> list[Decoder]:
    return [module for module in model.modules() if isinstance(module, Decoder)]


# -- by name --------------------------------------------------------------------------------------------------------


def ways(setting: Setting, sources: int, batch: LoadedBatch, ceiling: Ceilings) -> dict[str, Callable[[], Step]]:
    """What makes each step that is compared, in the order of importance; those that compile, which takes long, last.

    Args:
        setting: of the comparison.
        sources: of a sample.
        batch: that all of them learn from.
        ceiling: of the device.
    """

    def ours(*changes: Callable[[Trainer], None], **values: Any) -> Callable[[], Step]:
        def make() -> Step:
            trainer = our_trainer(setting, sources, **values)
            for change in changes:
                change(trainer)
            return OurStep(trainer, batch)

        return make

    def by_products(trainer: Trainer) -> None:
        upsample_by_products(trainer.model)

    def mixed(trainer: Trainer) -> None:
        assert isinstance(trainer.model, FabNet)
        factor_where_it_pays(trainer.model, sources, setting.size, ceiling)

    direct, graph, whole = {"decoder": "direct"}, {"cuda_graph": True}, {"compile": True}
    found: dict[str, Callable[[], Step]] = {FP32: lambda: AuthorsStep(setting, batch)}
    if not setting.on_gpu:
        return found | {OURS: ours(), f"{OURS}, direct": ours(**direct)}
    return found | {
        TF32: lambda: AuthorsStep(setting, batch, tf32=True),
        OURS: ours(),
        f"{OURS}, graph": ours(**graph),
        f"{OURS}, direct": ours(**direct),
        f"{OURS}, direct, graph": ours(**direct, **graph),
        f"{OURS}, direct by products, graph": ours(by_products, **direct, **graph),
        f"{OURS}, mixed, graph": ours(mixed, by_products, **graph),
        f"{OURS}, direct, NCHW, graph": ours(planar, **direct, **graph),
        f"{OURS}, regions compiled, graph": ours(compile_regions, **graph),
        f"{OURS}, direct, regions compiled, graph": ours(compile_regions, **direct, **graph),
        f"{OURS}, compiled": ours(**whole),
        f"{OURS}, compiled, graph": ours(**whole, **graph),
        f"{OURS}, direct, compiled, graph": ours(**direct, **whole, **graph),
    }
