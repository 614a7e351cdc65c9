"""The rotation baseline: the encoder is asked by which quarter turn a frame was rotated.

Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018.
"""

import torch
from torch import Tensor, nn

from fabnet.networks.encoder import Encoder

TURNS = 4


class Rotation(nn.Module):
    """The encoder of FAb-Net and a small classifier. As published, all four turns of a frame are in one batch."""

    views = 1

    def __init__(self, image_size: int, base_filters: int = 32, embedding_dim: int = 256) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, base_filters, embedding_dim)
        self.classifier = nn.Sequential(
            nn.ReLU(), nn.Linear(embedding_dim, embedding_dim), nn.ReLU(), nn.Linear(embedding_dim, TURNS)
        )

    def forward(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Tensor:
        """(1, B, 3, H, W) in [-1, 1] to log-odds of the turns, (B, 4, 4): of sample, true turn, told turn, counted
        anticlockwise; one view is never padding."""
        (target_BCHW,) = views_VBCHW
        turned = torch.cat([torch.rot90(target_BCHW, turn, (2, 3)) for turn in range(TURNS)])
        turned = turned.contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.classifier(self.encoder(turned)).float()
        return scores.unflatten(0, (TURNS, -1)).transpose(0, 1)
