"""FAb-Net: reconstruct a target frame by moving the pixels of source frames of the same face.

Shape suffixes: V views, N sources, B batch, D embedding, H height, W width; a number is a count of channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fabnet.networks.conventions import OURS, Conventions
from fabnet.networks.decoder import Decoder
from fabnet.networks.encoder import Encoder
from fabnet.networks.warp import warp


class Reconstruction(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        generated: targets, (B, 3, H, W).
        warped: every source moved to look like the target, (N, B, 3, H, W).
        flow: offsets at which each source was sampled, (N, B, 2, H, W).
        confidence: share of each source in each pixel, (N, B, 1, H, W); they sum to 1 over N.
    """

    generated: Tensor
    warped: Tensor
    flow: Tensor
    confidence: Tensor


class FabNet(nn.Module):
    """One encoder for all frames; a decoder turns two embeddings into a flow; the flow warps the source.

    The target is seen only through its embedding, so that the embedding must say what differs between two frames of
    one person: pose and expression. With several sources a second decoder of the same shape gives each of them a
    confidence per pixel, and the generated frame is their mean weighted by the softmax of these (sec. 3.2).

    Args:
        sources: source frames per target; one needs no confidences and has no decoder for them. A network for several
            takes any number.
        conventions: others than ours are for weights from elsewhere.
    """

    def __init__(
        self,
        image_size: int,
        base_filters: int = 32,
        embedding_dim: int = 256,
        sources: int = 1,
        conventions: Conventions = OURS,
    ) -> None:
        super().__init__()
        pair, align_corners = 2 * embedding_dim, conventions.align_corners
        self.encoder = Encoder(image_size, base_filters, embedding_dim, conventions.unit_input)
        self.flow_decoder = Decoder(image_size, pair, base_filters, 2, align_corners)
        if sources > 1:
            self.confidence_decoder = Decoder(image_size, pair, base_filters, 1, align_corners)
        self.sources, self.conventions = sources, conventions

    @property
    def views(self) -> int:
        """Frames of a sample: the target and its sources."""
        return 1 + self.sources

    def flow(self, source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Offsets (B, 2, H, W) at which the source is sampled to make the target."""
        flow_B2HW: Tensor = self.flow_decoder(self._pairs(source_BCHW[None], target_BCHW))
        return flow_B2HW

    def forward(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Tensor:
        """Views in [-1, 1], (V, B, 3, H, W), target first, to the generated targets (B, 3, H, W).

        Args:
            mask_VB: False for padding, which gets no confidence; None where there is none. The target and at least
                one source are always real.
        """
        target_BCHW, sources_NBCHW = views_VBCHW[0], views_VBCHW[1:]
        pairs_ND = self._pairs(sources_NBCHW, target_BCHW)
        warped_NBCHW = self._warp(sources_NBCHW, self.flow_decoder(pairs_ND))
        if len(sources_NBCHW) == 1:
            return warped_NBCHW[0]
        return merge(warped_NBCHW, self._confidence(pairs_ND, len(sources_NBCHW), mask_VB))

    def reconstruct(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Reconstruction:
        """As `forward`, with everything that led there."""
        target_BCHW, sources_NBCHW = views_VBCHW[0], views_VBCHW[1:]
        sources = len(sources_NBCHW)
        pairs_ND = self._pairs(sources_NBCHW, target_BCHW)
        flow = self.flow_decoder(pairs_ND)
        warped_NBCHW = self._warp(sources_NBCHW, flow)
        confidence_NB1HW = torch.ones_like(warped_NBCHW[:, :, :1])
        if sources > 1:
            confidence_NB1HW = self._confidence(pairs_ND, sources, mask_VB)
        generated_BCHW = merge(warped_NBCHW, confidence_NB1HW)
        return Reconstruction(generated_BCHW, warped_NBCHW, flow.unflatten(0, (sources, -1)), confidence_NB1HW)

    def _pairs(self, sources_NBCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Embeddings of each source beside the target's, (N * B, 2 * D)."""
        sources = len(sources_NBCHW)
        if sources > 1 and self.sources == 1:
            raise ValueError(f"this network was built for one source per target, not {sources}")
        # One call for all frames: larger batches use the device better, and batch norm sees one distribution.
        embedding_VBD = self.encoder(torch.cat((*sources_NBCHW, target_BCHW))).unflatten(0, (1 + sources, -1))
        target_NBD = embedding_VBD[-1:].expand(sources, -1, -1)
        return torch.cat((embedding_VBD[:-1], target_NBD), dim=2).flatten(0, 1)

    @staticmethod
    def _warp(sources_NBCHW: Tensor, flow: Tensor) -> Tensor:
        return warp(sources_NBCHW.flatten(0, 1), flow).unflatten(0, sources_NBCHW.shape[:2])

    def _confidence(self, pairs_ND: Tensor, sources: int, mask_VB: Tensor | None) -> Tensor:
        # In float32: a softmax of bfloat16 gives weights that do not sum to 1.
        confidence_NB1HW = self.confidence_decoder(pairs_ND).float().unflatten(0, (sources, -1))
        if mask_VB is not None:
            confidence_NB1HW = confidence_NB1HW.masked_fill(~mask_VB[1:, :, None, None, None], -torch.inf)
        weights_NB1HW: Tensor = confidence_NB1HW.softmax(dim=0)
        return weights_NB1HW


def merge(warped_NBCHW: Tensor, weights_NB1HW: Tensor) -> Tensor:
    """The weighted mean of the sources, (B, C, H, W), for weights that sum to 1 over N."""
    return (warped_NBCHW * weights_NB1HW).sum(dim=0)
