"""How fast a training step could be at best on a machine: its operations and fewest bytes, against two ceilings."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fabnet.networks.decoder import Decoder
from fabnet.networks.fabnet import FabNet

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


class Ceilings(NamedTuple):
    """Floating-point operations per second of a large bfloat16 matrix product, bytes per second of a large copy."""

    operations_s: float
    bytes_s: float


def ceilings(device: torch.device, clock: str, side: int | None = None) -> Ceilings:
    """Measured here and now; `side` of the matrices, of whose bytes the copy has some multiple."""
    side = side or (8192 if device.type == "cuda" else 1536)
    copied = side * side * 16 if device.type == "cuda" else side * side * 64
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = min(seconds(lambda: left @ right, device, 3, clock) for _ in range(4))
    copy = min(seconds(lambda: target.copy_(source), device, 3, clock) for _ in range(4))
    return Ceilings(2 * side**3 / product, 2 * copied / copy)


class Floor(NamedTuple):
    """Of a step: operations, fewest bytes, and the seconds that no implementation with these layers can go below."""

    operations: float
    moved: float
    seconds: float


def floor(model: FabNet, sources: int, batch: int, size: int, ceiling: Ceilings) -> Floor:
    """The floor of a training step of `model` on pictures of `size` px.

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
            side = output.shape[-1] // 2
            # Nor need the convolution be done on it: fabnet.networks.decoder.
            operations *= min(1.0, 1 / 4 + 5 / 6 * side / module.in_channels)
        moved = 2 * ((into + out) + (into + out) + (0 if first else into))
        layers.append((operations, moved))

    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d)]
    decoders = [module for module in model.modules() if isinstance(module, Decoder)]
    factored = [decoder.factored for decoder in decoders]
    for decoder in decoders:
        decoder.factored = False  # only then do its convolutions run as such
    # In evaluation mode: a picture alone has no statistics of a batch.
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1 + sources, 1, 3, size, size, device=next(model.parameters()).device))
    model.train(training)
    for decoder, was in zip(decoders, factored, strict=True):
        decoder.factored = was
    for hook in hooks:
        hook.remove()
    update = 4 * 5 * sum(parameter.numel() for parameter in model.parameters())
    bound = sum(batch * max(operations / ceiling.operations_s, moved / ceiling.bytes_s) for operations, moved in layers)
    operations, moved = (batch * sum(column) for column in zip(*layers, strict=True))
    return Floor(operations, moved + update, bound + update / ceiling.bytes_s)
