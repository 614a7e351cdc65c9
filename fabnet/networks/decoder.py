"""The decoder shared by flow and confidence of FAb-Net and the pictures of the autoencoder.

It doubles the size of a map by bilinear upsampling followed by a 3x3 convolution. Both are linear, so that they may
change places: mixing the channels of the small map, once per tap of the kernel, and then upsampling, shifting and
adding is the same function (up to rounding). Upsampling and shifting along one axis is a constant matrix, hence three
matrix products, which need a quarter to a half of the multiply-adds of the convolution on the large map where there are
more channels than rows, and a fraction of the memory where it has few outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fabnet.networks.encoder import depth_of


def axis_matrix(size: int, dtype: torch.dtype = torch.float32, align_corners: bool = True) -> Tensor:
    """Upsampling of an axis from h = `size` to 2 h points, seen from the three taps of a kernel: (2 h, 3, h).

    Entry (Y, k, y) is the weight of point y in the upsampled point Y + k - 1, and 0 where that lies outside.

    Args:
        size: h.
        dtype: of the matrix.
        align_corners: see Conventions.
    """
    padded = functional.pad(upsampling_matrix(size, 2, align_corners, torch.float64), (0, 0, 1, 1))
    return torch.stack([padded[tap : tap + 2 * size] for tap in range(3)], dim=1).to(dtype)


def upsampling_matrix(size: int, factor: int, align_corners: bool = True, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bilinear upsampling of an axis from h = `size` to H = `factor` h points, (H, h).

    Args:
        size: h.
        factor: H / h.
        align_corners: see Conventions.
        dtype: of the matrix.
    """
    each = torch.eye(size, dtype=torch.float64)[:, None, :, None]
    upsampled = functional.interpolate(each, size=(factor * size, 1), mode="bilinear", align_corners=align_corners)
    return upsampled[:, 0, :, 0].T.to(dtype)


def pays(size: int, channels_in: int, channels_out: int) -> bool:
    """Whether `convolve_upsampled` is the faster way, for a map of `size` before upsampling.

    Its multiply-adds beside the convolution's are 1/4 + 5/6 size / channels_in. Few outputs leave a convolution waiting
    for memory in any case.

    Args:
        size: h of the map before upsampling.
        channels_in, channels_out: of the convolution.
    """
    return channels_out < 16 or size < 0.9 * channels_in


def convolve_upsampled(image_BChw: Tensor, weight_OC33: Tensor, bias_O: Tensor, axis_H3h: Tensor) -> Tensor:
    """conv2d(upsample(image), weight, bias, padding=1), (B, O, 2 h, 2 h), channels last.

    Args:
        image_BChw: square, best with channels last in memory.
        weight_OC33: of the convolution.
        bias_O: of the convolution.
        axis_H3h: `axis_matrix(h)`.
    """
    batch, channels, size, _ = image_BChw.shape
    outputs = len(weight_OC33)
    taps_C = weight_OC33.permute(2, 0, 3, 1).reshape(-1, channels)  # rows: (tap of y, output, tap of x)
    mixed = torch.matmul(image_BChw.permute(0, 2, 3, 1).reshape(-1, channels), taps_C.T)
    mixed = mixed.view(batch, size, size, 3 * outputs, 3).permute(0, 1, 3, 4, 2).reshape(-1, 3 * size)
    wide = torch.matmul(mixed, axis_H3h.flatten(1).T)  # rows: (sample, y, tap of y, output); columns: X
    wide = wide.view(batch, 3 * size, outputs * 2 * size)
    tall = torch.matmul(axis_H3h.transpose(1, 2).flatten(1), wide)  # (sample, Y, (output, X))
    output = tall.view(batch, 2 * size, outputs, 2 * size).transpose(1, 2) + bias_O.to(tall.dtype)[:, None, None]
    return output.contiguous(memory_format=torch.channels_last)


class Decoder(nn.Module):
    """log2(image_size) times ReLU, bilinear x2 upsampling, 3x3 convolution; tanh at the end.

    Channels ..., 8b, 8b, 4b, 2b, b, `out_channels` for b = `base_filters`; batch norm after all but the last.

    Args:
        align_corners: of the upsampling, see Conventions.
        groups: decoders of as many parts of the channels side by side, which see nothing of each other.

    Attributes:
        factored: do upsampling and convolution as one, by matrix products, where these are faster. The same function of
            the same weights up to rounding.
    """

    def __init__(
        self,
        image_size: int,
        embedding_dim: int,
        base_filters: int,
        out_channels: int,
        align_corners: bool = True,
        groups: int = 1,
    ) -> None:
        super().__init__()
        depth = depth_of(image_size)
        hidden = [base_filters * min(2**level, 8) for level in reversed(range(depth - 1))]
        channels = [embedding_dim, *hidden, out_channels]
        layers: list[nn.Module] = []
        for level in range(depth):
            last = level == depth - 1
            layers += [
                nn.ReLU(),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=align_corners),
                nn.Conv2d(channels[level], channels[level + 1], 3, padding=1, groups=groups),
            ]
            if groups == 1 and pays(2**level, channels[level], channels[level + 1]):
                name = f"axis_{len(layers) - 2}"  # the place of the upsampling among the layers
                axis = axis_matrix(2**level, align_corners=align_corners)
                self.register_buffer(name, axis, persistent=False)
            if not last:
                layers.append(nn.BatchNorm2d(channels[level + 1]))
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.factored = False

    def forward(self, embedding_BD: Tensor) -> Tensor:
        """(B, D) to (B, out_channels, H, W) in [-1, 1]."""
        image_BCHW = embedding_BD[:, :, None, None]
        if not self.factored:
            output_BCHW: Tensor = self.layers(image_BCHW)
            return output_BCHW
        buffers = dict(self.named_buffers(recurse=False))
        place = 0
        while place < len(self.layers):
            axis = buffers.get(f"axis_{place}")
            if axis is None:
                image_BCHW = self.layers[place](image_BCHW)
                place += 1
            else:
                convolution = self.layers[place + 1]
                assert isinstance(convolution, nn.Conv2d)
                assert convolution.bias is not None
                image_BCHW = convolve_upsampled(image_BCHW, convolution.weight, convolution.bias, axis)
                place += 2
        return image_BCHW
