"""Frames become embeddings with a frozen encoder."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fabnet.frames.augment import to_float


@torch.inference_mode()
def embed_images(
    encoder: nn.Module, batches: Iterable[NDArray[np.uint8]], device: torch.device | str = "cpu"
) -> Iterator[NDArray[np.float32]]:
    """Batches of RGB frames (N, H, W, 3) to batches of embeddings (N, D), in float32 and evaluation mode.

    Args:
        encoder: maps (N, 3, H, W) in [-1, 1] to (N, D).
        batches: of frames, uint8.
        device: that computes; the encoder is moved there.
    """
    torch.set_flush_denormal(True)
    encoder.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for images in batches:
        frames = to_float(torch.from_numpy(images).to(device))
        yield encoder(frames).float().cpu().numpy()
