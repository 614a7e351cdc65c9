"""A GPU's memory: which frames live in it, and what to do where it is too small."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fabnet.errors import UserError, first_line
from fabnet.frames.cache import FrameCache, Frames, frame_bytes
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.store import FrameStore, NvJpeg
from fabnet.training.world import World

if TYPE_CHECKING:
    from fabnet.config import VariantParams

logger = logging.getLogger(__name__)

# Share of the card that frames leave to weights and activations, however large `resident_gib` is.
_SPARE = 0.2
# Of the host's memory for decoded frames the first split, which is trained on, has so much; the others are read once
# per validation.
_OF_FIRST = 7 / 8


class Places(NamedTuple):
    """First row and number of rows of each track of a split, (T,)."""

    start: NDArray[np.int64]
    length: NDArray[np.int64]


def place_frames(
    store: FrameStore,
    splits: Sequence[Places],
    params: VariantParams,
    world: World,
    corrupt: CorruptFrames,
    title: str,
) -> list[Frames]:
    """Where the frames of each split are read from: the GPU that holds all of them, or the store, kept on the host.

    Args:
        store: of all frames.
        splits: the one that is trained on first.
        params: what the memory of host and GPU may hold.
        world: this process's device.
        corrupt: takes note of frames that cannot be decoded.
        title: of the run, for messages.

    Raises:
        UserError: frames that cannot be decoded are more than allowed; nvJPEG is asked for and absent.
    """
    device = world.device
    source: Frames = NvJpeg(store, device) if params.nvjpeg and device.type == "cuda" else store
    if device.type == "cuda" and params.resident_gib:
        caches = _resident(source, store.size, splits, params, world, title)
        if caches:
            for cache in caches:
                cache.load(corrupt, params.workers, f"{title}: to the GPU", silent=not world.first)
            return list(caches)
    if source is not store:
        return [source] * len(splits)  # what the GPU has decoded is not sent back to be kept
    limit = params.cache_mb * 2**20
    shares = [_OF_FIRST, *([(1 - _OF_FIRST) / max(1, len(splits) - 1)] * (len(splits) - 1))]
    return [
        FrameCache(store, *split, store.size, int(limit * share)) for split, share in zip(splits, shares, strict=True)
    ]


def _resident(
    source: Frames, size: int, splits: Sequence[Places], params: VariantParams, world: World, title: str
) -> list[FrameCache]:
    """Empty caches on the GPU for all frames; none, with a line that says why, if they do not fit."""
    needed = sum(int(split.length.sum()) for split in splits) * frame_bytes(size)
    free, total = torch.cuda.mem_get_info(world.device)
    why = ""
    if needed > params.resident_gib * 2**30:
        why = f"more than resident_gib: {params.resident_gib:g}"
    elif needed > free - _SPARE * total:
        why = f"of which {_gib(total)} has {_gib(free)} free, a fifth of it for the step"
    else:
        try:
            return [FrameCache(source, *split, size, None, world.device) for split in splits]
        except torch.OutOfMemoryError as error:
            why = first_line(error)
    if world.first:
        logger.info(
            f"{title}: the frames take {_gib(needed)} of the GPU, {why}; they are decoded ahead by {params.workers} "
            "threads"
        )
    return []


def held_by(frames: Sequence[Frames]) -> int:
    """Bytes of decoded frames on a GPU."""
    return sum(cache.pictures.nbytes for cache in frames if isinstance(cache, FrameCache) and cache.pictures.is_cuda)


def too_small(
    error: torch.OutOfMemoryError,
    params: VariantParams,
    frames: int,
    device: torch.device,
    checkpoint: tuple[Path, int] | None,
) -> UserError:
    """What to do about a GPU whose memory is full, in one line.

    Args:
        error: as torch has raised it.
        params: of the run.
        frames: bytes of decoded frames that live there.
        device: the GPU.
        checkpoint: path and step of the last one, if there is one.
    """
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
    said = f"the GPU's memory of {_gib(total)} is full" + (f", and {asked[1]} more were needed" if asked else "")
    advice = []
    if others > 2**30:
        advice.append(f"wait for the other processes there, which hold {_gib(others)}")
    if frames:
        advice.append(f"set resident_gib to 0, which frees {_gib(frames)}, and run again")
    advice.append(f"start anew with batch_size {max(2, params.batch_size // 2)}, which needs half as much for a step")
    kept = "no checkpoint had been written yet"
    if checkpoint is not None:
        kept = f"{checkpoint[0]} holds step {checkpoint[1]}, from where it resumes"
    return UserError(f"{said}: {', or '.join(advice)}; {kept}")


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
