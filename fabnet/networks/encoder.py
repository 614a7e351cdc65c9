"""The encoder of FAb-Net: a frame becomes an embedding of facial attributes.

Shape suffixes: B batch, C channels, H height, W width, D embedding.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabnet.frames.augment import to_float


class Encoder(nn.Module):
    """log2(image_size) 4x4 stride-2 convolutions, each halving the map until it is 1 x 1 (Wiles et al. 2018, sec. 3).

    Channels b, 2b, 4b, 8b, 8b, ..., embedding_dim for b = `base_filters`; LeakyReLU(0.2) between; batch norm on all but
    the first and the last.

    Args:
        image_size: side of the square input, a power of two (the paper: 256).
        base_filters: b (the paper: 32).
        embedding_dim: D (the paper: 256).
        unit_input: the first layer sees pixels in [0, 1], see Conventions.
        in_channels: of the input: 3 of a frame.
        groups: encoders of as many parts of the channels side by side, which see nothing of each other.

    Attributes:
        exact: the last convolution is computed in float32, whatever the autocast and the card: where embeddings are
            read back by a map that makes much of little.
    """

    def __init__(
        self,
        image_size: int,
        base_filters: int = 32,
        embedding_dim: int = 256,
        unit_input: bool = False,
        in_channels: int = 3,
        groups: int = 1,
    ) -> None:
        super().__init__()
        depth = depth_of(image_size)
        channels = [in_channels, *(base_filters * min(2**level, 8) for level in range(depth - 1)), embedding_dim]
        layers: list[nn.Module] = []
        for level in range(depth):
            inner = 0 < level < depth - 1
            if level > 0:
                layers.append(nn.LeakyReLU(0.2))
            layers.append(nn.Conv2d(channels[level], channels[level + 1], 4, stride=2, padding=1, groups=groups))
            if inner:
                layers.append(nn.BatchNorm2d(channels[level + 1]))
        self.layers = nn.Sequential(*layers)
        self.image_size, self.embedding_dim, self.unit_input = image_size, embedding_dim, unit_input
        self.exact = False

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Frames in [-1, 1], (B, in_channels, H, W), to embeddings, (B, D)."""
        if self.unit_input:
            image_BCHW = (image_BCHW + 1) / 2
        if self.exact:
            return self._exact(image_BCHW)
        embedding_BD: Tensor = self.layers(image_BCHW).flatten(1)
        return embedding_BD

    def _exact(self, map_BCHW: Tensor) -> Tensor:
        *before, last = self.layers
        for layer in before:
            map_BCHW = layer(map_BCHW)
        assert isinstance(last, nn.Conv2d)
        # Of the 4 x 4 kernel, the middle is all that meets the 2 x 2 map. As a product of matrices, which GPUs compute
        # in float32 by default, and convolutions in TF32.
        with torch.autocast(map_BCHW.device.type, enabled=False):
            weight_DF = last.weight[:, :, 1:3, 1:3].flatten(1)
            return nn.functional.linear(map_BCHW.float().flatten(1), weight_DF, last.bias)


def depth_of(image_size: int) -> int:
    """Number of halvings from `image_size` to 1."""
    if image_size < 8 or image_size & (image_size - 1):
        raise ValueError(f"image_size must be a power of two of at least 8, not {image_size}")
    return image_size.bit_length() - 1


@torch.inference_mode()
def embed_images(
    encoder: nn.Module, batches: Iterable[NDArray[np.uint8]], device: torch.device | str = "cpu"
) -> Iterator[NDArray[np.float32]]:
    """Batches of RGB frames (N, H, W, 3) to batches of embeddings (N, D), in float32 and evaluation mode.

    From the first batch on, the process flushes denormal numbers to zero, which make a CPU several times slower;
    PyTorch does not say what the setting was before, so it cannot be put back.

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
