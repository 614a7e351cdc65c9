"""FAb-Net: reconstruct a target frame by moving the pixels of a source frame of the same face."""

import torch
from torch import Tensor, nn

from fabnet.networks.decoder import Decoder
from fabnet.networks.encoder import Encoder
from fabnet.networks.warp import warp


class FabNet(nn.Module):
    """One encoder for both frames; a decoder turns the two embeddings into a flow; the flow warps the source.

    The target is seen only through its embedding, so that the embedding must say what differs between two frames of
    one person: pose and expression.
    """

    views = 2

    def __init__(self, image_size: int, base_filters: int = 32, embedding_dim: int = 256) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, base_filters, embedding_dim)
        self.flow_decoder = Decoder(image_size, 2 * embedding_dim, base_filters, out_channels=2)

    def flow(self, source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Offsets (B, 2, H, W) at which the source is sampled to make the target."""
        # One call for both frames: larger batches use the cores better, and batch norm sees one distribution.
        embedding_2BD = self.encoder(torch.cat((source_BCHW, target_BCHW)))
        source_BD, target_BD = embedding_2BD.chunk(2)
        flow_B2HW: Tensor = self.flow_decoder(torch.cat((source_BD, target_BD), dim=1))
        return flow_B2HW

    def forward(self, views_VBCHW: Tensor) -> Tensor:
        """(2, B, 3, H, W), target first, then source, in [-1, 1], to the generated targets (B, 3, H, W)."""
        target_BCHW, source_BCHW = views_VBCHW
        return warp(source_BCHW, self.flow(source_BCHW, target_BCHW))
