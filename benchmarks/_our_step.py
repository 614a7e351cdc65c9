"""The training steps that benchmarks compare: the port of the authors' loop, and ours in the ways it can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._authors_loop import AuthorsLoop
from benchmarks._floor import Ceilings, layers
from benchmarks._jpegs import Jpegs
from fabnet.frames.pairs import PairSampler
from fabnet.networks.decoder import Decoder, upsampling_matrix
from fabnet.networks.fabnet import FabNet, merge, warp
from fabnet.training.batches import Batch, Batches
from fabnet.training.loop import Trainer
from fabnet.training.objective import reconstruction_loss
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

    def drawn(self, sources: int) -> Batch:
        """A batch of noise on the device, channels last as those of the loop."""
        shape = (1 + sources, self.batch, self.size, self.size, 3)
        generator = torch.Generator(self.device).manual_seed(0)
        views = torch.rand(shape, device=self.device, generator=generator).movedim(-1, -3) * 2 - 1
        return Batch(views, None, np.arange(self.batch))


class Step(Protocol):
    """A step that is run again and again. It owns whatever it reads: a CUDA graph keeps no memory alive by itself."""

    def __call__(self) -> Any: ...


class AuthorsStep:
    """The port of the authors' loop on one batch, in float32 or with TF32."""

    def __init__(self, setting: Setting, batch: Batch, tf32: bool = False) -> None:
        self.loop = AuthorsLoop(setting.size, setting.filters, setting.dimension, setting.device)
        self.views = [view.contiguous() for view in batch.views]
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


class Eager:
    """Our step, launched from Python. `feed` takes another batch than the one it was made for."""

    def __init__(self, trainer: Trainer, batch: Batch) -> None:
        self.trainer, self.batch = trainer, batch
        self()

    def __call__(self) -> None:
        self.feed(self.batch)

    def feed(self, batch: Batch) -> None:
        self.trainer._train_step(batch)


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


# -- other ways to run the same step --------------------------------------------------------------------------------


class Replay:
    """Our step on one batch as one CUDA graph: forward, backward, optimiser and sums of the loss.

    The learning rate and the number of the step are frozen into it: enough to know what a graph is worth. `feed` copies
    another batch into the memory that the graph reads.
    """

    def __init__(self, trainer: Trainer, batch: Batch) -> None:
        self.trainer, self.batch = trainer, batch._replace(views=batch.views.clone())
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                trainer._train_step(self.batch)
        torch.cuda.current_stream().wait_stream(aside)
        trainer.optimiser.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            trainer._train_step(self.batch)

    def __call__(self) -> None:
        self.graph.replay()

    def feed(self, batch: Batch) -> None:
        self.batch.views.copy_(batch.views, non_blocking=True)
        self.graph.replay()


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

    def losses(_: Any, batch: Batch) -> Tensor:
        with autocast(trainer.params.precision, trainer.world.device):
            flow, logits = model._decoded(model._pairs(batch.views[1:], batch.views[0]))
            result: Tensor = compiled(batch.views, flow, logits)
        return result

    trainer._losses = losses  # type: ignore[method-assign, assignment]


def decoders(model: nn.Module) -> list[Decoder]:
    return [module for module in model.modules() if isinstance(module, Decoder)]


def planar(trainer: Trainer, batch: Batch) -> Batch:
    """The same batch with planes of colour in memory (NCHW), and the network likewise."""
    trainer.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return batch._replace(views=batch.views.contiguous())


# -- by name --------------------------------------------------------------------------------------------------------


def ways(setting: Setting, sources: int, batch: Batch, ceiling: Ceilings) -> dict[str, Callable[[], Step]]:
    """What makes each step that is compared, in the order of importance; those that compile, which takes long, last.

    Args:
        setting: of the comparison.
        sources: of a sample.
        batch: that all of them learn from.
        ceiling: of the device.
    """

    def ours(as_step: Callable[[Trainer, Batch], Step], **changes: Any) -> Step:
        return as_step(our_trainer(setting, sources, **changes), batch)

    def by_products(as_step: Callable[[Trainer, Batch], Step]) -> Step:
        trainer = our_trainer(setting, sources, decoder="direct")
        upsample_by_products(trainer.model)
        return as_step(trainer, batch)

    def mixed(as_step: Callable[[Trainer, Batch], Step]) -> Step:
        trainer = our_trainer(setting, sources)
        assert isinstance(trainer.model, FabNet)
        factor_where_it_pays(trainer.model, sources, setting.size, ceiling)
        upsample_by_products(trainer.model)
        return as_step(trainer, batch)

    def regional(as_step: Callable[[Trainer, Batch], Step], **changes: Any) -> Step:
        trainer = our_trainer(setting, sources, **changes)
        compile_regions(trainer)
        return as_step(trainer, batch)

    def with_planes(as_step: Callable[[Trainer, Batch], Step]) -> Step:
        trainer = our_trainer(setting, sources, decoder="direct")
        return as_step(trainer, planar(trainer, batch))

    found: dict[str, Callable[[], Step]] = {FP32: lambda: AuthorsStep(setting, batch)}
    if not setting.on_gpu:
        return found | {OURS: partial(ours, Eager), f"{OURS}, direct": partial(ours, Eager, decoder="direct")}
    return found | {
        TF32: lambda: AuthorsStep(setting, batch, tf32=True),
        OURS: partial(ours, Eager),
        f"{OURS}, graph": partial(ours, Replay),
        f"{OURS}, direct": partial(ours, Eager, decoder="direct"),
        f"{OURS}, direct, graph": partial(ours, Replay, decoder="direct"),
        f"{OURS}, direct by products, graph": partial(by_products, Replay),
        f"{OURS}, mixed, graph": partial(mixed, Replay),
        f"{OURS}, direct, NCHW, graph": partial(with_planes, Replay),
        f"{OURS}, regions compiled, graph": partial(regional, Replay),
        f"{OURS}, direct, regions compiled, graph": partial(regional, Replay, decoder="direct"),
        f"{OURS}, compiled": partial(ours, Eager, compile=True),
        f"{OURS}, compiled, graph": partial(ours, Replay, compile=True),
        f"{OURS}, direct, compiled, graph": partial(ours, Replay, decoder="direct", compile=True),
    }
