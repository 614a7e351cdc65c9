"""What an encoder is, how images are put before it, and what is refused of one.

Shape suffixes: N images, S side in pixels, C channels, D embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fabnet.config.encoders import Channels, Interpolation, Layout, Saw
from fabnet.errors import UserError, one_line

#: Pixels that go through a network at a time: 16 images of 224 px.
_PIXELS = 16 * 224 * 224
#: An embedding may differ by this share of the embeddings' root mean square when the same image is embedded in other
#: company: rounding of half-precision networks, and far less than batch norm or dropout in training mode make of it.
_ROUNDING = 0.01


@dataclass(frozen=True)
class Preprocessing:
    """Images to the numbers that a network expects: (values of 0 to 1 - mean) / std, by channel.

    Attributes:
        size: S, side of an image in pixels.
        mean, std: of red, green and blue, or in the order of `channels`.
        interpolation: how images of another side are resized; smaller sizes are antialiased.
        channels: order of colours that the network wants.
        layout: order of axes that the network wants.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    channels: Channels = "RGB"
    layout: Layout = "NCHW"

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Float32 (N, C, S, S) or (N, S, S, C) of uint8 RGB (N, S, S, C)."""
        if self.channels == "BGR":
            images_NSSC = images_NSSC[..., ::-1]
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        x = (images_NSSC.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(x if self.layout == "NHWC" else x.transpose(0, 3, 1, 2))

    def told(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "channels": self.channels,
            "layout": self.layout,
        }


@dataclass(frozen=True)
class Encoder:
    """Images of faces to embeddings, as `open_encoder` opens it.

    Attributes:
        name: by which tables call it.
        source: `timm:NAME` and so on, by which errors call it.
        saw: what it learnt from: `faces with labels`, `faces`, `images` or `unknown`.
        weights_sha256: of the file of its weights, or of the weights themselves where they came from a hub.
        size: side in pixels of the images that it works on; others are resized.
        interpolation: how they are resized.
        told: all that decides its embeddings beside the weights, as JSON holds it.
        forward: uint8 RGB (n, size, size, 3) to (n, D); a few images at a time.
    """

    name: str
    source: str
    saw: Saw
    weights_sha256: str
    size: int
    interpolation: Interpolation
    told: Mapping[str, Any]
    forward: Callable[[NDArray[np.uint8]], NDArray[Any]]

    def embed(self, images: NDArray[np.uint8], names: Sequence[str] = ()) -> NDArray[np.float32]:
        """Embed images; a few are worked on at a time, so that memory does not grow with their number.

        Args:
            images: uint8 RGB (N, S, S, 3), N at least 1.
            names: of the images, for errors; left out, they are numbered from 0.

        Returns:
            float32 (N, D).

        Raises:
            UserError: the encoder fails, or gives no (N, D) of finite numbers.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            raise ValueError(f"images must be uint8 (N, S, S, 3), not {images.dtype} {images.shape}")
        step = max(1, _PIXELS // self.size**2)
        names = names or [f"image {number}" for number in range(len(images))]
        starts = range(0, len(images), step)
        parts = [self._part(images[at : at + step], names[at : at + step]) for at in starts]
        if len(widths := {part.shape[1] for part in parts}) > 1:
            raise UserError(f"{self.source}: gives embeddings of {min(widths)} and of {max(widths)} numbers")
        return np.concatenate(parts)

    def _part(self, images: NDArray[np.uint8], names: Sequence[str]) -> NDArray[np.float32]:
        shown = resized(images, self.size, self.interpolation)
        try:
            answer = self.forward(shown)
        except UserError:
            raise
        except Exception as error:  # anybody's code
            raise UserError(f"{self.source}: fails on {shown.shape} images: {one_line(error)}") from error
        found = np.asarray(answer.detach().cpu() if isinstance(answer, Tensor) else answer)
        if found.ndim != 2 or len(found) != len(images) or not found.shape[1] or found.dtype.kind != "f":
            shape = " x ".join(map(str, found.shape)) or "a single value"
            raise UserError(
                f"{self.source}: gives {found.dtype} {shape} for {len(images)} images; embeddings are floating-point "
                f"numbers, {len(images)} x D"
            )
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is reported
            embeddings = found.astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if len(bad):
            raise UserError(f"{self.source}: the embedding of {names[bad[0]]} is not finite; check its weights")
        return embeddings


def require_sound(encoder: Encoder, images: NDArray[np.uint8]) -> int:
    """Try an encoder on a few images before all of them are embedded.

    Args:
        encoder: that is tried.
        images: uint8 RGB (N, S, S, 3); a few different ones.

    Returns:
        D, the dimension of its embeddings.

    Raises:
        UserError: it gives no (N, D) of finite numbers, other numbers for the same images the second time, other ones
            for an image by itself than among others, or the same for all images.
    """
    together = encoder.embed(images)
    scale = max(float(np.sqrt(np.square(together, dtype=np.float64).mean())), 1e-30)
    again = encoder.embed(images)
    alone = np.concatenate([encoder.embed(images[at : at + 1]) for at in range(len(images))])
    reasons = {
        "gives other embeddings for the same images the second time": again,
        "gives an image another embedding by itself than among others": alone,
    }
    for what, other in reasons.items():
        apart = float(np.abs(other - together).max()) / scale if other.shape == together.shape else np.inf
        if apart > _ROUNDING:
            raise UserError(
                f"{encoder.source}: {what} (they differ by {apart:.0%} of their size); a network has to be in "
                "evaluation mode, without dropout, noise or statistics of the batch"
            )
    if len(np.unique(images, axis=0)) > 1 and (together == together[0]).all():
        raise UserError(f"{encoder.source}: gives different images the same embedding; check its weights and its input")
    return together.shape[1]


def resized(images: NDArray[np.uint8], size: int, interpolation: Interpolation) -> NDArray[np.uint8]:
    """Images of another side, by Pillow, as timm and Transformers resize them.

    Args:
        images: uint8 (N, S, S, 3).
        size: of the result, in pixels.
        interpolation: Pillow's name of it.
    """
    if images.shape[1] == size:
        return images
    resample = Image.Resampling[interpolation.upper()]
    return np.stack([np.asarray(Image.fromarray(each).resize((size, size), resample)) for each in images])


def network_forward(
    network: nn.Module, prepare: Callable[[NDArray[np.uint8]], NDArray[Any]], read: Callable[[Any], Tensor]
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The `forward` of a PyTorch network, on a GPU where there is one.

    Args:
        network: is put into evaluation mode.
        prepare: uint8 images to what the network takes.
        read: (n, D) of what the network gives.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.requires_grad_(False).eval().to(device)

    @torch.inference_mode()
    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        torch.set_flush_denormal(True)
        return read(network(torch.from_numpy(prepare(images)).to(device))).float().cpu().numpy()

    return forward
