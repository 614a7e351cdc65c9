"""The pretext baselines: the same encoder, trained for another task without labels.

- autoencoder: reproduce the frame itself;
- rotation: by which quarter turn was a frame rotated? Gidaris, Singh, Komodakis: Unsupervised Representation Learning
  by Predicting Image Rotations, ICLR 2018;
- split-brain: lightness from colour, and colour from lightness. Zhang, Isola, Efros: Split-Brain Autoencoders, CVPR
  2017. As in FAb-Net's paper, both halves are regressions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fabnet.networks.decoder import Decoder
from fabnet.networks.encoder import Encoder

TURNS = 4

#: Linear sRGB to XYZ (IEC 61966-2-1), its rows divided by the white of D65, so that white is (1, 1, 1).
_TO_XYZ = torch.tensor(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    dtype=torch.float64,
)
_TO_XYZ = (_TO_XYZ / _TO_XYZ.sum(dim=1, keepdim=True)).float()

#: Range of lightness, and the largest |a| and |b| that are told apart: colours of sRGB stay within it.
_LIGHTNESS, _OPPONENT = 100.0, 110.0

#: Cube roots of X, Y, Z to L* / 50 - 1, a* / 110 and b* / 110.
_TO_LAB = torch.tensor(
    [
        [0, 116 * 2 / _LIGHTNESS, 0],
        [500 / _OPPONENT, -500 / _OPPONENT, 0],
        [0, 200 / _OPPONENT, -200 / _OPPONENT],
    ]
)
_SHIFT = torch.tensor([16 * 2 / _LIGHTNESS + 1, 0, 0])
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # CIE 15: where the cube root gives way to a line


class Autoencoder(nn.Module):
    """The encoder of FAb-Net and its decoder with three output channels."""

    views = 1

    def __init__(self, image_size: int, base_filters: int = 32, embedding_dim: int = 256) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, base_filters, embedding_dim)
        self.picture_decoder = Decoder(image_size, embedding_dim, base_filters, out_channels=3)

    def forward(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Tensor:
        """(1, B, 3, H, W) in [-1, 1] to the reproduced frames (B, 3, H, W); one view is never padding.

        Args:
            views_VBCHW: one view.
            mask_VB: not used: all networks are called alike.
        """
        (target_BCHW,) = views_VBCHW
        picture_BCHW: Tensor = self.picture_decoder(self.encoder(target_BCHW))
        return picture_BCHW.float()


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
        anticlockwise; one view is never padding.

        Args:
            views_VBCHW: one view.
            mask_VB: not used: all networks are called alike.
        """
        (target_BCHW,) = views_VBCHW
        turned = torch.cat([torch.rot90(target_BCHW, turn, (2, 3)) for turn in range(TURNS)])
        turned = turned.contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.classifier(self.encoder(turned)).float()
        return scores.unflatten(0, (TURNS, -1)).transpose(0, 1)


class ToLab(nn.Module):
    """sRGB in [-1, 1] to L*, a*, b*, (B, 3, H, W) float32, in units of their ranges: all in [-1, 1].

    L* from 0 to 100 becomes -1 to 1; a* and b* are divided by 110. White is D65.
    """

    # On the device of the weights, where a step finds them without a copy from the host.
    to_xyz_33: Tensor
    to_lab_33: Tensor
    shift_3: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("to_xyz_33", _TO_XYZ), ("to_lab_33", _TO_LAB), ("shift_3", _SHIFT)):
            self.register_buffer(name, value.clone(), persistent=False)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) of sRGB to L*, a*, b*."""
        with torch.autocast(image_B3HW.device.type, enabled=False):  # bfloat16 has not the digits for it
            encoded = image_B3HW.float().add(1).mul_(0.5).clamp_(0, 1)
            linear = torch.where(encoded <= 0.04045, encoded / 12.92, encoded.add(0.055).div_(1.055).pow_(2.4))
            xyz = functional.conv2d(linear, self.to_xyz_33[:, :, None, None])
            root = torch.where(xyz > _EPSILON, xyz.clamp_min(_EPSILON).pow_(1 / 3), xyz * (_KAPPA / 116) + 16 / 116)
            return functional.conv2d(root, self.to_lab_33[:, :, None, None]).sub_(self.shift_3[:, None, None])


class SplitBrainEncoder(nn.Module):
    """The encoder of FAb-Net in two halves, as groups of channels: of lightness, and of colour."""

    def __init__(self, image_size: int, base_filters: int, embedding_dim: int) -> None:
        super().__init__()
        if base_filters % 2 or embedding_dim % 2:
            raise ValueError(
                f"split_brain halves base_filters and embedding_dim: {base_filters} and {embedding_dim} must be even"
            )
        self.to_lab = ToLab()
        self.halves = Encoder(image_size, base_filters, embedding_dim, in_channels=4, groups=2)
        self.image_size, self.embedding_dim = image_size, embedding_dim

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Frames in [-1, 1], (B, 3, H, W), to embeddings, (B, D): what lightness tells, then what colour tells."""
        return self.of_lab(self.to_lab(image_BCHW))

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
        minus true: (B, 3, H, W), in the units of ToLab; one view is never padding.

        Args:
            views_VBCHW: one view.
            mask_VB: not used: all networks are called alike.
        """
        (target_BCHW,) = views_VBCHW
        lab_B3HW = self.encoder.to_lab(target_BCHW)
        told_B4HW = self.other_decoder(self.encoder.of_lab(lab_B3HW)).float()
        # a* and b* of the first half, lightness of the second, whose other channel is none.
        return torch.cat((told_B4HW[:, 2:3], told_B4HW[:, :2]), dim=1) - lab_B3HW
