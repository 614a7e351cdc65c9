"""The autoencoder baseline: the same encoder, asked to reproduce the frame itself."""

from torch import Tensor, nn

from fabnet.networks.decoder import Decoder
from fabnet.networks.encoder import Encoder


class Autoencoder(nn.Module):
    """The encoder of FAb-Net and its decoder with three output channels."""

    views = 1

    def __init__(self, image_size: int, base_filters: int = 32, embedding_dim: int = 256) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, base_filters, embedding_dim)
        self.picture_decoder = Decoder(image_size, embedding_dim, base_filters, out_channels=3)

    def forward(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Tensor:
        """(1, B, 3, H, W) in [-1, 1] to the reproduced frames (B, 3, H, W); one view is never padding."""
        (target_BCHW,) = views_VBCHW
        picture_BCHW: Tensor = self.picture_decoder(self.encoder(target_BCHW))
        return picture_BCHW.float()
