"""A trained FAb-Net used by its parts: embeddings become flows, flows move pictures.

Pictures are uint8 (..., H, W, 3). Shape suffixes as in fabnet.networks.fabnet; S steps or sources, T driving frames.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fabnet.errors import UserError
from fabnet.frames.augment import to_float
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.networks.fabnet import FabNet, warp

_BATCH = 64


def open_fabnet(directory: Path | str) -> FabNet:
    """The network of a trained variant, in evaluation mode.

    Raises:
        UserError: there is none, or it is of an objective that has no flow.
    """
    network, card = load_model(directory)
    return require_flow(network, card["objective"], directory)


def require_flow(network: nn.Module, objective: str, where: Path | str) -> FabNet:
    """The network `where`, if it is one that warps a frame.

    Args:
        network: as loaded.
        objective: by which it was trained.
        where: its folder or file, for the error.

    Raises:
        UserError: it was trained by another objective than fabnet, or an ONNX export holds its encoder alone.
    """
    if isinstance(network, FabNet):
        return network
    what = "is an encoder alone" if objective == "fabnet" else f"was trained with objective {objective}"
    raise UserError(f"{where}: {what}, which has no flow to warp a frame with; take a model of objective fabnet")


def embeddings(network: FabNet, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, D).

    Args:
        network: in evaluation mode.
        images_NHWC: RGB frames of the network's size.
    """
    batches = (images_NHWC[start : start + _BATCH] for start in range(0, len(images_NHWC), _BATCH))
    return np.concatenate(list(embed_images(network.encoder, batches, _device(network))))


@torch.inference_mode()
def flows(network: FabNet, sources_ND: NDArray[np.float32], targets_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Offsets (N, 2, H, W) in [-1, 1] coordinates at which each source is sampled to look like its target.

    Args:
        network: in evaluation mode.
        sources_ND: embeddings of the frames that are sampled.
        targets_ND: embeddings of what they should look like.
    """
    pairs = torch.from_numpy(np.concatenate((sources_ND, targets_ND), axis=1)).to(_device(network))
    decoded = [network.flow_between(part).float().cpu() for part in pairs.split(_BATCH)]
    return torch.cat(decoded).numpy()


@torch.inference_mode()
def moved(images_NHWC: NDArray[np.uint8], flows_N2HW: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pictures sampled along flows. A flow of another size than the picture's is resized to it.

    Args:
        images_NHWC: RGB frames.
        flows_N2HW: offsets in [-1, 1] coordinates, positive to the right and down.
    """
    size = images_NHWC.shape[1]
    flow = torch.from_numpy(np.asarray(flows_N2HW, dtype=np.float32))
    if flow.shape[-1] != size:
        flow = functional.interpolate(flow, (size, size), mode="bilinear", align_corners=True)
    return _pictures(warp(to_float(torch.from_numpy(images_NHWC)), flow))


@torch.inference_mode()
def weighed(
    network: FabNet, sources_NBHWC: NDArray[np.uint8], targets_BHWC: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Targets made from N sources each: the generated frames (B, H, W, 3) and the share of each source (N, B, H, W).

    Args:
        network: with confidences, if N is above 1.
        sources_NBHWC: RGB frames, N for each of B targets.
        targets_BHWC: RGB frames; only their embeddings are used.
    """
    views = to_float(torch.from_numpy(np.concatenate((targets_BHWC[None], sources_NBHWC))).to(_device(network)))
    made = network.reconstruct(views)
    return _pictures(made.generated.float().cpu()), made.confidence[:, :, 0].float().cpu().numpy()


def between(
    a_ND: NDArray[np.float32], b_ND: NDArray[np.float32], shares_S: NDArray[np.floating]
) -> NDArray[np.float32]:
    """The straight line from a to b, (S, N, D); at shares 0 and 1 exactly a and b.

    Args:
        a_ND, b_ND: the ends.
        shares_S: 0 is a, 1 is b.
    """
    shares = np.asarray(shares_S, dtype=np.float32)[:, None, None]
    return (1 - shares) * a_ND + shares * b_ND


def interpolated(
    network: FabNet,
    sources_NHWC: NDArray[np.uint8],
    ends_2NHWC: NDArray[np.uint8],
    shares_S: NDArray[np.floating],
) -> NDArray[np.uint8]:
    """Sources moved with target embeddings on the line between those of two frames each, (S, N, H, W, 3).

    Args:
        network: in evaluation mode.
        sources_NHWC: RGB frames.
        ends_2NHWC: for each source, the frames at shares 0 and 1.
        shares_S: of the way from the first to the second.
    """
    source, a, b = (embeddings(network, images) for images in (sources_NHWC, *ends_2NHWC))
    return np.stack([moved(sources_NHWC, flows(network, source, target)) for target in between(a, b, shares_S)])


def transferred(network: FabNet, sources_SHWC: NDArray[np.uint8], driving_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every source moved with the embedding of every driving frame, (S, T, H, W, 3).

    Args:
        network: in evaluation mode.
        sources_SHWC: RGB frames of whom is shown.
        driving_THWC: RGB frames of who moves.
    """
    source, driving = embeddings(network, sources_SHWC), embeddings(network, driving_THWC)
    count = len(driving)
    return np.stack(
        [
            moved(np.repeat(image[None], count, axis=0), flows(network, np.repeat(own[None], count, axis=0), driving))
            for image, own in zip(sources_SHWC, source, strict=True)
        ]
    )


def _pictures(images_NCHW: Tensor) -> NDArray[np.uint8]:
    pictures: NDArray[np.uint8] = (
        ((images_NCHW.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    )
    return pictures


def _device(network: FabNet) -> torch.device:
    return next(network.parameters()).device
