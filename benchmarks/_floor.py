"""What the layers of a training step cost, and how fast it could be at best, against two ceilings of a device."""

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


class Cost(NamedTuple):
    """Floating-point operations, and bytes read and written, forward and backward."""

    operations: float
    moved: float

    def seconds(self, ceiling: Ceilings) -> float:
        """By the slower of the two ceilings."""
        return max(self.operations / ceiling.operations_s, self.moved / ceiling.bytes_s)

    def __mul__(self, times: float) -> Cost:  # type: ignore[override]
        return Cost(self.operations * times, self.moved * times)


class Layer(NamedTuple):
    """A convolution as a step calls it, for one sample: `images` of `side` px in, half or twice of that out.

    A convolution takes 2 operations per multiply-add, and as much again for each of its gradients; frames need none.
    Values between layers are of two bytes (bfloat16).
    """

    name: str
    images: int
    side: int
    channels_in: int
    channels_out: int
    upsampled: bool  # of a decoder: bilinear upsampling to twice the side, then 3x3; else 4x4 with stride 2
    first: bool  # sees frames
    normed: bool  # batch norm and an activation follow

    @property
    def into(self) -> int:
        return self.images * self.channels_in * self.side**2

    @property
    def out(self) -> int:
        return self.images * self.channels_out * (4 * self.side**2 if self.upsampled else self.side**2 // 4)

    def direct(self) -> Cost:
        """Upsampling and convolution as two kernels, each of which reads its input and writes its output."""
        taps = 9 if self.upsampled else 16
        operations = 2 * self.out * self.channels_in * taps * (2 if self.first else 3)
        if not self.upsampled:
            return Cost(operations, 2 * (2 * (self.into + self.out) + (0 if self.first else self.into)))
        large = 4 * self.into  # the upsampled map, which is written, read by the convolution, and has a gradient
        # Forward: small read, large written and read, output written. Backward: the output's gradient read for both
        # gradients, large read, its gradient written and read, the small gradient written.
        return Cost(operations, 2 * (2 * self.into + 5 * large + 3 * self.out))

    def factored(self) -> Cost:
        """The three matrix products of `fabnet.networks.decoder.convolve_upsampled`; as `direct` in an encoder."""
        if not self.upsampled:
            return self.direct()
        small = self.images * self.side**2
        mixed, wide, tall = (count * self.channels_out * small for count in (9, 6, 4))
        mixing = 2 * small * self.channels_in * 9 * self.channels_out
        along_axes = 2 * 2 * self.side * (mixed + wide)  # by constant matrices, which get no gradient
        moved = 2 * (self.into + mixed) + self.into + 2 * (mixed + wide) + 2 * (wide + tall)
        # The first result and the last are copied into another order, forward and backward.
        return Cost(3 * mixing + 2 * along_axes, 2 * (moved + 4 * (mixed + tall)))

    def least(self) -> Cost:
        """With all between convolutions fused into them: input read and output written once, likewise backward."""
        into, operations = self.into, self.direct().operations
        if self.upsampled:
            # An upsampled map need not exist, nor need the convolution be done on it.
            operations *= min(1.0, 1 / 4 + 5 / 9 * self.side / self.channels_in)
        return Cost(operations, 2 * (2 * (into + self.out) + (0 if self.first else into)))

    def between(self) -> Cost:
        """Batch norm and activation as kernels of their own: passes over the output that fusing would save."""
        # Forward: statistics, then read and write, then the activation's read and write. Backward: two reads and a
        # write of the activation; sums over values and gradients, then both again and a write, of batch norm.
        return Cost(0.0, 2 * self.out * (13 if self.normed else 5))


def layers(model: FabNet, sources: int, size: int) -> list[Layer]:
    """The convolutions of `model` in the order of their calls, for one sample of 1 + `sources` frames of `size` px."""
    found: list[Layer] = []
    names = {module: name for name, module in model.named_modules()}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        upsampled = module.kernel_size == (3, 3)
        images, _, side, _ = inputs[0].shape
        parent, _, place = names[module].rpartition(".")
        followed = f"{parent}.{int(place) + 1}"
        normed = isinstance(dict(model.named_modules()).get(followed), nn.BatchNorm2d)
        channels = module.in_channels, module.out_channels
        first = module.in_channels == 3
        found.append(
            Layer(names[module], images, side // 2 if upsampled else side, *channels, upsampled, first, normed)
        )

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
    return found


class Floor(NamedTuple):
    """Of a step: operations, fewest bytes, and the seconds that no implementation with these layers can go below."""

    operations: float
    moved: float
    seconds: float


def floor(model: FabNet, sources: int, batch: int, size: int, ceiling: Ceilings) -> Floor:
    """The floor of a training step of `model` on frames of `size` px.

    Each layer is bound by the slower of the two ceilings; parameters and their momentum are read and written once in
    float32.

    Args:
        model: whose layers count.
        sources: frames of a sample beside its target.
        batch: samples of a step.
        size: H = W of a frame.
        ceiling: of the device.
    """
    costs = [layer.least() * batch for layer in layers(model, sources, size)]
    update = 4 * 5 * sum(parameter.numel() for parameter in model.parameters())
    operations, moved = (sum(column) for column in zip(*costs, strict=True))
    bound = sum(cost.seconds(ceiling) for cost in costs)
    return Floor(operations, moved + update, bound + update / ceiling.bytes_s)
