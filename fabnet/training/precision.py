"""The number format of a step's arithmetic: float32, or bfloat16 by autocast where the machine has it."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch

logger = logging.getLogger(__name__)

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
