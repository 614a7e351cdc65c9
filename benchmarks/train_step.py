"""Our training step against a plain port of the authors' loop, both at 256 px and 32 filters, in one run.

The port is written from the paper and the released code's structure: float32, one call of the encoder per view, flow
and mask decoder always, a loop over sources, a merge by exponentials. It has the source frames and the batch of ours.
Rounds alternate between them, so that a busy machine slows all; ratios are medians over rounds.

    python benchmarks/train_step.py [--batch 8] [--rounds 5] [--sources 1 3] [--threads 1 --clock cpu]

It needs torch, numpy, pyarrow and PyYAML, and Pillow or simplejpeg for the loader. With a GPU it also prints the naive
port with TF32, our step compiled, the loader alone, and how far the step is from the floor.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare image has no fabnet installed

from fabnet.frames.pairs import PairSampler
from fabnet.networks.decoder import Decoder
from fabnet.networks.fabnet import FabNet
from fabnet.training.batches import Batch, Batches
from fabnet.training.loop import Trainer
from fabnet.training.world import World

SIZE, FILTERS, DIMENSION = 256, 32, 256
TRACKS, LENGTH = 64, 8


# -- the authors' loop ----------------------------------------------------------------------------------------------


def plain_encoder() -> nn.Sequential:
    channels = [3, 32, 64, 128, 256, 256, 256, 256, 256]
    layers: list[nn.Module] = []
    for level in range(8):
        if level > 0:
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(channels[level], channels[level + 1], 4, 2, 1))
        if 0 < level < 7:
            layers.append(nn.BatchNorm2d(channels[level + 1]))
    return nn.Sequential(*layers)


def plain_decoder(outputs: int) -> nn.Sequential:
    channels = [512, 256, 256, 256, 256, 128, 64, 32, outputs]
    layers: list[nn.Module] = []
    for level in range(8):
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        layers += [nn.ReLU(), up, nn.Conv2d(channels[level], channels[level + 1], 3, 1, 1)]
        if level < 7:
            layers.append(nn.BatchNorm2d(channels[level + 1]))
    return nn.Sequential(*layers, nn.Tanh())


class Plain:
    """The authors' step."""

    def __init__(self, device: torch.device) -> None:
        self.encoder, self.decoder, self.mask = plain_encoder(), plain_decoder(2), plain_decoder(1)
        modules = (self.encoder, self.decoder, self.mask)
        weights = [weight for module in modules for weight in module.to(device).parameters()]
        self.optimiser = torch.optim.SGD(weights, 0.001, momentum=0.9)
        axis = torch.linspace(-1, 1, SIZE, device=device)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.grid = torch.stack((x, y), dim=-1)[None]

    def step(self, views: list[Tensor]) -> Tensor:
        target, sources = views[0], views[1:]
        self.optimiser.zero_grad()
        target_embedding = self.encoder(target)
        warped, weights = [], []
        for source in sources:
            pair = torch.cat((self.encoder(source), target_embedding), dim=1)
            grid = (self.grid + self.decoder(pair).permute(0, 2, 3, 1)).clamp(-1, 1)
            warped.append(functional.grid_sample(source, grid, align_corners=True))
            weights.append(torch.exp(self.mask(pair)))
        generated = sum(w * s for w, s in zip(weights, warped, strict=True)) / sum(weights)
        loss = (generated - target).abs().mean(dim=(1, 2, 3)).mean()
        loss.backward()
        self.optimiser.step()
        return loss.detach()


# -- ours -----------------------------------------------------------------------------------------------------------


class Jpegs:
    """Smooth random pictures as JPEG in memory: what a shard costs once it is in the page cache."""

    def __init__(self) -> None:
        from PIL import Image

        coarse = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        pictures = functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)
        self.jpegs = []
        for picture in (pictures * 255).byte().permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=95)
            self.jpegs.append(file.getvalue())

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        jpegs = [self.jpegs[row % len(self.jpegs)] for row in rows]
        try:
            import simplejpeg

            return np.stack([simplejpeg.decode_jpeg(jpeg) for jpeg in jpegs])
        except ImportError:
            from PIL import Image

            return np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])


def our_trainer(sources: int, batch: int, device: torch.device, **changes: Any) -> Trainer:
    values: dict[str, Any] = {
        "samples": 10**9,
        "batch_size": batch,
        "validation_every": 10**9,
        "validation_samples": batch,
        "checkpoint_every": 10**9,
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
    batches = Batches(Jpegs(), sampler, batch, World(device=device), workers=16 if device.type == "cuda" else 2)
    # What the loop reads of a variant's params; their class needs pydantic, which a bare image has not.
    params: Any = SimpleNamespace(**(values | changes))
    return Trainer(FabNet(SIZE, FILTERS, DIMENSION, sources), batches, batches, params, batches.world)


# -- timing ---------------------------------------------------------------------------------------------------------


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(work: Callable[[], Any], device: torch.device, repeats: int, clock: str = "wall") -> float:
    """Mean time of `work` over `repeats` calls."""
    now = CLOCKS[clock]
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = now()
    for _ in range(repeats):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (now() - started) / repeats


def compare(
    steps: dict[str, Callable[[], Any]], device: torch.device, rounds: int, repeats: int, clock: str
) -> dict[str, list[float]]:
    """Seconds per step of each, once per round, in turn."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for work in steps.values():
        for _ in range(3 if device.type == "cuda" else 1):
            work()
    for _ in range(rounds):
        for name, work in steps.items():
            times[name].append(seconds(work, device, repeats, clock))
    return times


# -- the floor ------------------------------------------------------------------------------------------------------


def ceilings(device: torch.device, clock: str) -> tuple[float, float]:
    """Floating-point operations per second of a large bfloat16 matrix product, bytes per second of a large copy."""
    side, copied = (8192, 2**30) if device.type == "cuda" else (1536, 2**27)
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = min(seconds(lambda: left @ right, device, 3, clock) for _ in range(4))
    copy = min(seconds(lambda: target.copy_(source), device, 3, clock) for _ in range(4))
    return 2 * side**3 / product, 2 * copied / copy


def floor(model: FabNet, sources: int, batch: int, operations_s: float, bytes_s: float) -> tuple[float, float, float]:
    """Operations and fewest bytes of a step, and the seconds that no implementation with these layers can go below.

    A convolution takes 2 operations per multiply-add and as much again for each of its two gradients (the pictures need
    none). It reads its input and writes its output once, in bfloat16; backward reads both gradients' operands and
    writes the input's gradient. All between convolutions counts as fused into them. Each layer is bound by the slower
    of the two ceilings; parameters and their momentum are read and written once in float32.
    """
    layers: list[tuple[float, float]] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        multiply_adds = output.numel() * module.weight.numel() / module.out_channels
        first = module.in_channels == 3
        operations = 2 * multiply_adds * (2 if first else 3)
        into, out = inputs[0].numel(), output.numel()
        # An upsampled map need not exist: it is read at a quarter of its size.
        if module.kernel_size == (3, 3):
            into //= 4
            size = output.shape[-1] // 2
            # Nor need the convolution be done on it: fabnet.networks.upsampled.
            share = 1 / 4 + 5 / 6 * size / module.in_channels
            operations *= min(1.0, share)
        moved = 2 * ((into + out) + (into + out) + (0 if first else into))
        layers.append((operations, moved))

    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d)]
    for module in model.modules():
        if isinstance(module, Decoder):
            module.factored = False
    with torch.no_grad():
        model(torch.zeros(1 + sources, 1, 3, SIZE, SIZE, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    weights = sum(parameter.numel() for parameter in model.parameters())
    update = 4 * 5 * weights
    time_s = sum(batch * max(operations / operations_s, moved / bytes_s) for operations, moved in layers)
    operations, moved = (batch * sum(column) for column in zip(*layers, strict=True))
    return operations, moved + update, time_s + update / bytes_s


# -- the record -----------------------------------------------------------------------------------------------------


def report(
    sources: int, batch: int, device: torch.device, rounds: int, repeats: int, ceiling: tuple[float, float], clock: str
) -> None:
    torch.manual_seed(0)
    views = torch.rand(1 + sources, batch, SIZE, SIZE, 3, device=device).movedim(-1, -3) * 2 - 1
    apart = [view.contiguous() for view in views]
    batch_of_views = Batch(views, None, np.arange(batch))
    plain, ours = Plain(device), our_trainer(sources, batch, device)
    direct = our_trainer(sources, batch, device, decoder="direct")
    steps: dict[str, Callable[[], Any]] = {
        "authors' loop, fp32": lambda: plain.step(apart),
        "ours": lambda: ours._train_step(batch_of_views),
        "ours, direct decoder": lambda: direct._train_step(batch_of_views),
    }
    if device.type == "cuda":
        compiled = our_trainer(sources, batch, device, compile=True)

        def with_tf32() -> None:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            plain.step(apart)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

        steps |= {"authors' loop, tf32": with_tf32, "ours, compiled": lambda: compiled._train_step(batch_of_views)}
    times = compare(steps, device, rounds, repeats, clock)
    operations, moved, least = floor(direct.model, sources, batch, *ceiling)  # type: ignore[arg-type]
    print(
        f"\n{sources} source(s), batch {batch}: {operations / 1e9:.0f} Gflop and {moved / 1e9:.2f} GB at least per step"
    )
    print(f"{'':22}{'samples/s':>11}{'of the floor':>14}{'times the authors':>19}")
    for name, own in times.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(times["authors' loop, fp32"], own, strict=True))
        print(f"{name:22}{batch / statistics.median(own):11.2f}{least / statistics.median(own):14.2f}{ratio:19.2f}")
    if device.type == "cuda":
        loader(ours, device, batch, repeats)


def loader(ours: Trainer, device: torch.device, batch: int, repeats: int) -> None:
    """The loader alone, and the share of time that the loop loses to it."""
    count = 10 * repeats

    def rate(work: Callable[[Batch], Any]) -> float:
        stream = ours.train.iterate(0, count + 5)
        for _ in range(5):
            work(next(stream))
        torch.cuda.synchronize()
        started = time.perf_counter()
        for loaded in stream:
            work(loaded)
        torch.cuda.synchronize()
        return batch * count / (time.perf_counter() - started)

    held = next(ours.train.iterate(0, 1))
    bare = batch / seconds(lambda: ours._train_step(held), device, count)
    alone, together = rate(lambda loaded: None), rate(ours._train_step)
    lost = 100 * (1 - together / bare)
    print(
        f"loader alone {alone:.0f} samples/s, step alone {bare:.0f}, together {together:.0f}: {lost:.1f} % lost to data"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--threads", type=int, help="of the CPU; all by default")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of this process, on a machine shared by many"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = options.batch or (128 if device.type == "cuda" else 8)
    repeats = options.repeats or (20 if device.type == "cuda" else 1)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    operations_s, bytes_s = ceilings(device, options.clock)
    print(
        f"torch {torch.__version__}, {where}; ceilings {operations_s / 1e12:.2f} Tflop/s bf16, {bytes_s / 1e9:.0f} GB/s"
    )
    for sources in options.sources:
        report(sources, batch, device, options.rounds, repeats, (operations_s, bytes_s), options.clock)


if __name__ == "__main__":
    main()
