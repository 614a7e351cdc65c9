"""Where a run computes: its processes, one a device, started by torchrun, and the number format of a step.

Each process has a share of every batch. Arithmetic is float32, or bfloat16 by autocast where the machine has it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from fabnet.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """`size` processes, of which this is number `rank`; alone by default, and then nothing is sent anywhere."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's run of `numbers`, (B,); runs differ in length by one at most and may be empty."""
        return np.array_split(numbers, self.size)[self.rank]

    def gather(self, values_b: Tensor, total: int) -> Tensor:
        """Values of the shares of all processes in the order of the batch, (total,); each process has its own, (b,).

        Args:
            values_b: one value per sample of this process's share.
            total: B, samples of the global batch.
        """
        if self.size == 1:
            return values_b
        lengths = [len(part) for part in np.array_split(np.arange(total), self.size)]
        padded = values_b.new_zeros(lengths[0])  # the first share is the longest
        padded[: len(values_b)] = values_b
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def sum(self, value: Tensor) -> Tensor:
        """The sum over processes, on all of them."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, here: bool) -> bool:
        """Whether it is so in any process. Waits for all of them and for the device."""
        return here if self.size == 1 else bool(self.sum(torch.tensor(float(here), device=self.device)) > 0)

    def broadcast(self, value: int) -> int:
        """The first process's value, on all of them."""
        if self.size == 1:
            return value
        message = torch.tensor(value, device=self.device)
        dist.broadcast(message, 0)
        return int(message)

    def union(self, here: list[int]) -> list[int]:
        """What any process has, sorted, on all of them."""
        if self.size == 1:
            return here
        lists: list[list[int]] = [[] for _ in range(self.size)]
        dist.all_gather_object(lists, here)
        return sorted({value for one in lists for value in one})

    def average_buffers(self, model: nn.Module) -> None:
        """Make the running statistics of batch norm, which each process took of its own share, the same on all."""
        if self.size == 1:
            return
        state = model.state_dict(keep_vars=True)
        buffers = [
            state[name] for name, buffer in model.named_buffers() if name in state and buffer.is_floating_point()
        ]
        if not buffers:
            return
        flat = self.sum(torch.cat([buffer.flatten() for buffer in buffers])) / self.size
        for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))


def has_gpu() -> bool:
    """Whether there is a GPU that torch can use; says in one line what torch says of one that it cannot."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    for warning in said:
        text = " ".join(str(warning.message).split()).removeprefix("CUDA initialization: ").partition(" (Triggered")[0]
        logger.warning(f"{text}" if there else f"the GPU cannot be used, and the CPU trains: {text}")
    return there


@contextmanager
def joined(deterministic: bool = False) -> Iterator[World]:
    """The world that torchrun has described in the environment, or a process alone where there is none.

    Args:
        deterministic: see `arithmetic`.
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if has_gpu() else torch.device("cpu")
    with arithmetic(deterministic, device):
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
            yield World(device=device)
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield World(dist.get_rank(), dist.get_world_size(), device)
        finally:
            dist.destroy_process_group()


#: Sizes of cuBLAS's workspace with which its products are the same in every run, by torch's notes on reproducibility.
_WORKSPACES = (":4096:8", ":16:8")


@contextmanager
def arithmetic(deterministic: bool, device: torch.device) -> Iterator[None]:
    """How a device chooses its kernels while this context lasts.

    By default cuDNN takes the fastest kernels, tried out at the first step, since shapes stay the same from step to
    step, and sums by atomic additions may round differently from run to run. With `deterministic`, torch takes kernels
    that do the same in every run, and refuses operators that have none.

    Args:
        deterministic: the same bytes from run to run, on the same device and versions.
        device: that computes.

    Raises:
        UserError: cuBLAS was told otherwise, or started before it could be told.
    """
    cudnn = torch.backends.cudnn
    tried, repeated = cudnn.benchmark, cudnn.deterministic
    if deterministic and device.type == "cuda":
        _bind_cublas()
    # Trying kernels out would choose by time, and so another one from run to run.
    cudnn.benchmark = not deterministic
    if not deterministic:
        try:
            yield
        finally:
            cudnn.benchmark = tried
        return
    settings: Any = torch.utils.deterministic  # its property is not in its type
    before, filled = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic = True
        # No step reads memory that it has not written; filling it first would cost a pass over every result.
        settings.fill_uninitialized_memory = False
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = filled
        cudnn.benchmark, cudnn.deterministic = tried, repeated


def _bind_cublas() -> None:
    """Give cuBLAS a workspace of its own for each stream; it reads the variable once, when CUDA starts."""
    name = "CUBLAS_WORKSPACE_CONFIG"
    said = os.environ.get(name)
    if said is None and torch.cuda.is_initialized():
        raise UserError(f"{name}: is not set, and CUDA is in use already; deterministic needs {name}={_WORKSPACES[0]}")
    if said not in (None, *_WORKSPACES):
        raise UserError(f"{name}: is {said}; deterministic needs {' or '.join(_WORKSPACES)}: change or unset it")
    os.environ[name] = said or _WORKSPACES[0]


#: float32 against emulated bfloat16 on a processor with AVX2 only: 134 and 16 samples per CPU second of the default
#: network (docs/decisions/0017-float32-by-default.md).
SLOWER = 8


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context of a forward pass in `precision`, "fp32" or "bf16".

    Args:
        precision: "fp32" or "bf16".
        device: that computes.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def has_bf16(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16; a CPU without AVX512-BF16 and AMX, or a GPU before Ampere, emulates it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    # What the processor has, and what oneDNN was allowed to use of it (ONEDNN_MAX_CPU_ISA).
    return bool(torch.cpu._is_avx512_bf16_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def warn_of_emulation(precision: str, device: torch.device, title: str) -> None:
    """Warn that what was asked for will be slow; once, however many networks are trained.

    Args:
        precision: "fp32" or "bf16".
        device: that computes.
        title: of the run, with which the warning begins.
    """
    if precision == "bf16" and not has_bf16(device):
        emulated = f"this processor, about {SLOWER} times slower than fp32" if device.type == "cpu" else "this GPU"
        logger.warning(f"{title}: precision bf16 is emulated on {emulated}; set precision: fp32")
