"""The split-brain baseline: lightness says what colours a frame has, and its colours how light it is.

Zhang, Isola, Efros: Split-Brain Autoencoders, CVPR 2017. As in FAb-Net's paper, both halves are regressions.
"""

import torch
from torch import Tensor, nn

from fabnet.networks.decoder import Decoder
from fabnet.networks.encoder import Encoder
from fabnet.networks.lab import to_lab


class SplitBrainEncoder(nn.Module):
    """The encoder of FAb-Net in two halves, as groups of channels: of lightness, and of colour."""

    def __init__(self, image_size: int, base_filters: int, embedding_dim: int) -> None:
        super().__init__()
        if base_filters % 2 or embedding_dim % 2:
            raise ValueError(
                f"split_brain halves base_filters and embedding_dim: {base_filters} and {embedding_dim} must be even"
            )
        self.halves = Encoder(image_size, base_filters, embedding_dim, in_channels=4, groups=2)
        self.image_size, self.embedding_dim = image_size, embedding_dim

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Frames in [-1, 1], (B, 3, H, W), to embeddings, (B, D): what lightness tells, then what colour tells."""
        return self.of_lab(to_lab(image_BCHW))

    def of_lab(self, lab_B3HW: Tensor) -> Tensor:
        lightness_B1HW, colour_B2HW = lab_B3HW[:, :1], lab_B3HW[:, 1:]
        # Groups are equally wide.
        padded_B4HW = torch.cat((lightness_B1HW, torch.zeros_like(lightness_B1HW), colour_B2HW), dim=1)
        embedding_BD: Tensor = self.halves(padded_B4HW.contiguous(memory_format=torch.channels_last))
        return embedding_BD


class SplitBrain(nn.Module):
    """The encoder in two halves, and for each half of the embedding a decoder of what it has not seen."""

    views = 1

    def __init__(self, image_size: int, base_filters: int = 32, embedding_dim: int = 256) -> None:
        super().__init__()
        self.encoder = SplitBrainEncoder(image_size, base_filters, embedding_dim)
        self.other_decoder = Decoder(image_size, embedding_dim, base_filters, out_channels=4, groups=2)

    def forward(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Tensor:
        """(1, B, 3, H, W) in [-1, 1] to errors of lightness told from colour and of colour told from lightness, told
        minus true: (B, 3, H, W), in the units of `to_lab`; one view is never padding."""
        (target_BCHW,) = views_VBCHW
        lab_B3HW = to_lab(target_BCHW)
        told_B4HW = self.other_decoder(self.encoder.of_lab(lab_B3HW)).float()
        # a* and b* of the first half, lightness of the second, whose other channel is none.
        return torch.cat((told_B4HW[:, 2:3], told_B4HW[:, :2]), dim=1) - lab_B3HW
