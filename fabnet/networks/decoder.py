"""The decoder shared by flow and confidence of FAb-Net and the pictures of the autoencoder."""

from torch import Tensor, nn

from fabnet.networks.encoder import depth_of
from fabnet.networks.upsampled import axis_matrix, convolve_upsampled, pays


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
