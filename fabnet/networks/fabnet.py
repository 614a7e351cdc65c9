"""FAb-Net: reconstruct a target frame by moving the pixels of source frames of the same face.

Coordinates of a flow follow `torch.nn.functional.grid_sample` with align_corners=True: (x, y), with -1 and 1 at the
centres of the first and the last pixel. `Conventions` are what weights alone do not say: where others' FAb-Nets differ.

Shape suffixes: V views, N sources, B batch, C channels, D embedding, H height, W width; a number counts channels.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fabnet.networks.decoder import Decoder, upsampling_matrix
from fabnet.networks.encoder import Encoder
from fabnet.networks.histograms import HistogramHead


@dataclass(frozen=True)
class Conventions:
    """How a network wants its numbers; the default is ours, and the paper's as the specification reads it.

    Attributes:
        align_corners: bilinear upsampling in the decoders keeps the corner pixels' centres at the corners.
        unit_input: the first layer sees pixels in [0, 1]. Frames come in [-1, 1] all the same, and the encoder shifts
            them: at the border, where zeros are padded, no change of the weights would do.
        read_back: embeddings are in other coordinates than those that the decoders learnt from, and a linear map takes
            them back, see networks/coordinates.py.
    """

    align_corners: bool = True
    unit_input: bool = False
    read_back: bool = False

    @classmethod
    def of_card(cls, card: dict[str, Any]) -> "Conventions":
        """As model.json says; what it does not mention is as ours.

        Raises:
            ValueError: it mentions one that is unknown here.
        """
        said = card.get("conventions", {})
        if (
            not isinstance(said, dict)
            or not set(said) <= set(asdict(OURS))
            or {type(v) for v in said.values()} - {bool}
        ):
            raise ValueError(f"conventions {said} are unknown here; there are {', '.join(asdict(OURS))}, true or false")
        return cls(**said)

    def card(self) -> dict[str, Any]:
        """What model.json has to say: nothing where all is as ours."""
        said = asdict(self)
        if not self.read_back:  # which versions before do not know, nor have to
            del said["read_back"]
        return {} if self == OURS else {"conventions": said}


OURS = Conventions()


def identity_grid(size: int, device: torch.device | str | None = None) -> Tensor:
    """The grid (1, size, size, 2) that samples every pixel at its own place.

    Args:
        size: side of the grid, in pixels.
        device: of the result.
    """
    axis = torch.linspace(-1, 1, size, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y), dim=-1)[None]


def warp(image_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """Move pixels: output(p) = image(clamp(p + flow(p), -1, 1)), bilinearly.

    Args:
        image_BCHW: frames, square.
        flow_B2HW: offsets (dx, dy) in the [-1, 1] coordinates of the frame; positive dx samples from the right.
    """
    # In float32 whatever the autocast: bfloat16 has 8 bits, less than a pixel's place at 256 px needs.
    flow_BHW2 = flow_B2HW.float().permute(0, 2, 3, 1)
    grid_BHW2 = (identity_grid(image_BCHW.shape[-1], image_BCHW.device) + flow_BHW2).clamp(-1, 1)
    image_BCHW = image_BCHW.float()
    # CUDA's backward of grid_sample is refused there, for the gradient of the frames, which nobody asks for here.
    if torch.are_deterministic_algorithms_enabled() and image_BCHW.is_cuda and not image_BCHW.requires_grad:
        return GatheredWarp.apply(image_BCHW, grid_BHW2)
    return functional.grid_sample(image_BCHW, grid_BHW2, mode="bilinear", align_corners=True)


class GatheredWarp(torch.autograd.Function):
    """`grid_sample`, bilinear with aligned corners and zeros outside, with a gradient of the grid that only gathers.

    Every element of that gradient is computed from the four pixels around its point, and no two write to one place, so
    that it is the same in every run. The frames get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, image_BCHW: Tensor, grid_BHW2: Tensor) -> Tensor:
        """The warped frames, of the grid's height and width.

        Args:
            ctx: keeps both for the backward pass.
            image_BCHW: frames.
            grid_BHW2: for each pixel of the result the point, x and y, that it is fetched from; -1 and 1 are the
                centres of the outer pixels.
        """
        ctx.save_for_backward(image_BCHW, grid_BHW2)
        return functional.grid_sample(image_BCHW, grid_BHW2, mode="bilinear", align_corners=True)

    @staticmethod
    def backward(ctx: Any, gradient_BCHW: Tensor) -> tuple[None, Tensor]:
        """Nothing for the frames, and the gradient of the grid (B, H, W, 2).

        Args:
            ctx: of the forward pass.
            gradient_BCHW: of the warped frames.
        """
        image_BCHW, grid_BHW2 = ctx.saved_tensors
        batch, channels, height, width = image_BCHW.shape
        # Numbers of the host, not a tensor made of them, which a CUDA graph could not take in.
        scale_x, scale_y = (width - 1) / 2, (height - 1) / 2
        place_x, place_y = (grid_BHW2[..., 0] + 1) * scale_x, (grid_BHW2[..., 1] + 1) * scale_y
        left, top = place_x.floor(), place_y.floor()
        pixels_BPC = image_BCHW.permute(0, 2, 3, 1).reshape(batch, -1, channels)
        gradient_BPC = gradient_BCHW.permute(0, 2, 3, 1).reshape(batch, -1, channels)

        def projected(right: int, down: int) -> Tensor:
            """Of one of the four pixels: its channels times the gradient, summed, (B, H, W); 0 outside the frame."""
            x, y = left + right, top + down
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long().view(batch, -1, 1)
            values_BPC = pixels_BPC.gather(1, index.expand(-1, -1, channels))
            return (values_BPC * gradient_BPC).sum(dim=2).view_as(x) * inside

        (p00, p10), (p01, p11) = ([projected(right, down) for right in (0, 1)] for down in (0, 1))
        fx, fy = place_x - left, place_y - top
        along_x = (p10 - p00) * (1 - fy) + (p11 - p01) * fy
        along_y = (p01 - p00) * (1 - fx) + (p11 - p10) * fx
        return None, torch.stack((along_x * scale_x, along_y * scale_y), dim=-1)


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
        flow_stride: the decoders' maps are so many times smaller than the frames, and upsampled (the paper: 1).
        shared_decoder: flow and confidence of several sources are channels of one decoder (the paper: one each).
        histogram_head: embeddings tell how orientation histograms change, too (the paper: they do not).

    Attributes:
        every_view: `forward` makes every view from the others, not only the first one.
    """

    upsampling_Hh: Tensor

    def __init__(
        self,
        image_size: int,
        base_filters: int = 32,
        embedding_dim: int = 256,
        sources: int = 1,
        conventions: Conventions = OURS,
        flow_stride: int = 1,
        shared_decoder: bool = False,
        histogram_head: bool = False,
    ) -> None:
        super().__init__()
        size, pair, align_corners = image_size // flow_stride, 2 * embedding_dim, conventions.align_corners
        self.encoder = Encoder(image_size, base_filters, embedding_dim, conventions.unit_input)
        self.shared_decoder = shared_decoder and sources > 1
        self.flow_decoder = Decoder(size, pair, base_filters, 3 if self.shared_decoder else 2, align_corners)
        if sources > 1 and not self.shared_decoder:
            self.confidence_decoder = Decoder(size, pair, base_filters, 1, align_corners)
        self.histogram_head = HistogramHead(image_size, embedding_dim) if histogram_head else None
        self.read_back = nn.Linear(embedding_dim, embedding_dim) if conventions.read_back else None
        self.encoder.exact = conventions.read_back
        self.base_filters = base_filters
        self.sources, self.conventions, self.flow_stride = sources, conventions, flow_stride
        self.every_view = False
        if flow_stride > 1:
            matrix = upsampling_matrix(size, flow_stride, align_corners)
            self.register_buffer("upsampling_Hh", matrix, persistent=False)

    @property
    def views(self) -> int:
        """Frames of a sample: the target and its sources."""
        return 1 + self.sources

    def flow(self, source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Offsets (B, 2, H, W) at which the source is sampled to make the target.

        Args:
            source_BCHW: frames that are sampled, in [-1, 1].
            target_BCHW: frames to be made, in [-1, 1].
        """
        return self.flow_between(self._pairs(source_BCHW[None], target_BCHW))

    def flow_between(self, pairs_ND: Tensor) -> Tensor:
        """Offsets (N, 2, H, W) for embeddings of a source beside those of its target, (N, 2 * D)."""
        return self._full_size(self.flow_decoder(self._read(pairs_ND))[:, :2])

    def forward(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Views in [-1, 1], (V, B, 3, H, W), target first, to the generated targets (B, 3, H, W).

        With `every_view`, each view is a target: what is made of it, (V, K, B, 3, H, W). A network for several sources
        merges the other views, K = 1; one for a single source moves each of them by itself, in their order, K = V - 1.
        With a histogram head, its errors (B,) come second then.

        Args:
            views_VBCHW: frames of one face per sample.
            mask_VB: False for padding, which gets no confidence; None where there is none. The target and at least
                one source are always real.
        """
        if self.every_view:
            return self._every_view(views_VBCHW, mask_VB)
        target_BCHW, sources_NBCHW = views_VBCHW[0], views_VBCHW[1:]
        pairs_ND = self._pairs(sources_NBCHW, target_BCHW)
        if len(sources_NBCHW) == 1:
            return self._warp(sources_NBCHW, self.flow_between(pairs_ND))[0]
        flow, logits = self._decoded(pairs_ND)
        warped_NBCHW = self._warp(sources_NBCHW, flow)
        return merge(warped_NBCHW, _shares(logits.unflatten(0, (len(sources_NBCHW), -1)), _of_sources(mask_VB)))

    def reconstruct(self, views_VBCHW: Tensor, mask_VB: Tensor | None = None) -> Reconstruction:
        """The first view made from the others, with everything that led there.

        Args:
            views_VBCHW: frames in [-1, 1]; the first is the target, the others are sources.
            mask_VB: False for padding, as in `forward`.
        """
        target_BCHW, sources_NBCHW = views_VBCHW[0], views_VBCHW[1:]
        sources = len(sources_NBCHW)
        flow, logits = self._decoded(self._pairs(sources_NBCHW, target_BCHW))
        warped_NBCHW = self._warp(sources_NBCHW, flow)
        confidence_NB1HW = torch.ones_like(warped_NBCHW[:, :, :1])
        if sources > 1:
            confidence_NB1HW = _shares(logits.unflatten(0, (sources, -1)), _of_sources(mask_VB))
        generated_BCHW = merge(warped_NBCHW, confidence_NB1HW)
        return Reconstruction(generated_BCHW, warped_NBCHW, flow.unflatten(0, (sources, -1)), confidence_NB1HW)

    def _every_view(self, views_VBCHW: Tensor, mask_VB: Tensor | None) -> Tensor | tuple[Tensor, Tensor]:
        """All ordered pairs from one encoding of each view: V (V - 1) of them for V encodings."""
        views, batch = views_VBCHW.shape[:2]
        embedding_VBD = self.encoder(views_VBCHW.flatten(0, 1)).unflatten(0, (views, batch))
        source = others(views, views_VBCHW.device)
        target = torch.arange(views, device=views_VBCHW.device)[:, None].expand_as(source)
        pairs_ND = torch.cat((embedding_VBD[source], embedding_VBD[target]), dim=-1).flatten(0, 2)
        flow, logits = self._decoded(pairs_ND)
        moved = warp(views_VBCHW[source].flatten(0, 2), flow).unflatten(0, (views, views - 1, batch))
        if self.sources > 1:
            masked = None if mask_VB is None else mask_VB[source]
            shares = _shares(logits.unflatten(0, (views, views - 1, batch)), masked)
            moved = (moved * shares).sum(dim=1, keepdim=True)
        if self.histogram_head is None:
            return moved
        return moved, self.histogram_head(embedding_VBD, views_VBCHW, mask_VB)

    def _decoded(self, pairs_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (N, 2, H, W) and confidence before the softmax, (N, 1, H, W), which is empty for a single source."""
        pairs_ND = self._read(pairs_ND)
        decoded = self.flow_decoder(pairs_ND)
        if self.shared_decoder:
            decoded = self._full_size(decoded)
            return decoded[:, :2], decoded[:, 2:]
        logits = self.confidence_decoder(pairs_ND) if self.sources > 1 else decoded[:, 2:]
        return self._full_size(decoded), self._full_size(logits)

    def _read(self, pairs_ND: Tensor) -> Tensor:
        """Pairs of embeddings in the coordinates that the decoders know, (N, 2 * D)."""
        if self.read_back is None:
            return pairs_ND
        with torch.autocast(pairs_ND.device.type, enabled=False):
            read_N2D: Tensor = self.read_back(pairs_ND.float().unflatten(1, (2, -1)))
        return read_N2D.flatten(1)

    def _full_size(self, map_NChw: Tensor) -> Tensor:
        """Upsampled bilinearly; offsets are in the coordinates of the frame, so that they are the same at any size."""
        if self.flow_stride == 1 or map_NChw.shape[1] == 0:
            return map_NChw
        # As two matrix products, a fifth of the time of `interpolate` on a CPU; in float32 as a pixel's place needs.
        with torch.autocast(map_NChw.device.type, enabled=False):
            map_NCHW: Tensor = self.upsampling_Hh @ map_NChw.float().contiguous() @ self.upsampling_Hh.T
        return map_NCHW

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


def others(views: int, device: torch.device) -> Tensor:
    """Row by row the sources of view 0, 1, ...: all views but itself, (V, V - 1).

    Args:
        views: V.
        device: of the result.
    """
    column = torch.arange(views - 1, device=device)
    return column + (column >= torch.arange(views, device=device)[:, None])


def _of_sources(mask_VB: Tensor | None) -> Tensor | None:
    return None if mask_VB is None else mask_VB[1:]


def _shares(logits_NB1HW: Tensor, mask_NB: Tensor | None) -> Tensor:
    """Softmax over the N sources, the fifth dimension from the right; what the mask says is padding gets nothing."""
    # In float32: a softmax of bfloat16 gives weights that do not sum to 1.
    logits_NB1HW = logits_NB1HW.float()
    if mask_NB is not None:
        logits_NB1HW = logits_NB1HW.masked_fill(~mask_NB[..., None, None, None], -torch.inf)
    weights_NB1HW: Tensor = logits_NB1HW.softmax(dim=-5)
    return weights_NB1HW


def merge(warped_NBCHW: Tensor, weights_NB1HW: Tensor) -> Tensor:
    """The weighted mean of the sources, (B, C, H, W), for weights that sum to 1 over N.

    Args:
        warped_NBCHW: the warped frames of N sources.
        weights_NB1HW: of every pixel of each source.
    """
    return (warped_NBCHW * weights_NB1HW).sum(dim=0)
