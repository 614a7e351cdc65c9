"""The decoder shared by the flow of FAb-Net and the pictures of the autoencoder."""

from torch import Tensor, nn

from fabnet.networks.encoder import depth_of


class Decoder(nn.Module):
    """log2(image_size) times ReLU, bilinear x2 upsampling, 3x3 convolution; tanh at the end.

    Channels ..., 8b, 8b, 4b, 2b, b, `out_channels` for b = `base_filters`; batch norm after all but the last.
    """

    def __init__(self, image_size: int, embedding_dim: int, base_filters: int, out_channels: int) -> None:
        super().__init__()
        depth = depth_of(image_size)
        hidden = [base_filters * min(2**level, 8) for level in reversed(range(depth - 1))]
        channels = [embedding_dim, *hidden, out_channels]
        layers: list[nn.Module] = []
        for level in range(depth):
            last = level == depth - 1
            layers += [
                nn.ReLU(),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(channels[level], channels[level + 1], 3, padding=1),
            ]
            if not last:
                layers.append(nn.BatchNorm2d(channels[level + 1]))
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, embedding_BD: Tensor) -> Tensor:
        """(B, D) to (B, out_channels, H, W) in [-1, 1]."""
        output_BCHW: Tensor = self.layers(embedding_BD[:, :, None, None])
        return output_BCHW
