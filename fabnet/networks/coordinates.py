"""Other coordinates of an embedding, in which faces that move alike are near, whosever they are.

What FAb-Net learns must tell the frames of one track apart, and no loss keeps it from telling who they are of: people
differ more than faces move, and of the neighbours of a face by cosine many are of its own person. Let W be the
covariance of embeddings z within tracks and B that of the tracks' means, mu their mean. The embedding becomes

    z' = c W B^(-1/2) (z - mu),

with a number c that makes its variances 1 on average: a direction counts by how much faces move along it, and how
little tracks, and so mostly people, differ. No label says which is which. Speaker verification divides by what differs
between recordings of one speaker (within-class covariance normalisation, Hatch, Kajarekar and Stolcke 2006); here it
is people who are in the way. The map has an inverse: the encoder's last convolution does it and the decoders read the
embedding back, so that the network is the same function.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from fabnet.networks.fabnet import Conventions, FabNet

#: Added to all variances, as a share of their mean: what few tracks say of weak directions is not believed.
_SHRINKAGE = 0.3


def spreads(embedding_VSD: Tensor, mask_VS: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance of embeddings within tracks, and between the tracks' true means, both (D, D), and the mean (D,).

    All in float64. The mean of V frames is off by a V-th of the covariance within tracks, which is taken off again.

    Args:
        embedding_VSD: of V frames of each of S tracks, or of S samples of fewer tracks.
        mask_VS: False for padding; None where there is none. Every sample has at least two frames.
    """
    embedding_VSD = embedding_VSD.double()
    real_VS1 = torch.ones_like(embedding_VSD[..., :1]) if mask_VS is None else mask_VS[..., None].double()
    frames_S1 = real_VS1.sum(dim=0)
    mean_SD = (embedding_VSD * real_VS1).sum(dim=0) / frames_S1
    off_ND = ((embedding_VSD - mean_SD) * real_VS1).flatten(0, 1)
    within_DD = off_ND.T @ off_ND / (frames_S1 - 1).sum()
    return within_DD, torch.cov(mean_SD.T) - within_DD * (1 / frames_S1).mean(), mean_SD.mean(dim=0)


def movement(within_DD: Tensor, between_DD: Tensor) -> Tensor:
    """The matrix W B^(-1/2), (D, D), with a share of the mean of all variances added to each.

    It is divided by a number, so that the new variances, within and between tracks together, are 1 on average.

    Args:
        within_DD: W, of embeddings within tracks; not zero.
        between_DD: B, between tracks; variances below zero, which few tracks lead to, count as zero.
    """
    (within_D, axes_DD), (between_D, people_DD) = torch.linalg.eigh(within_DD), torch.linalg.eigh(between_DD)
    within_D, between_D = within_D.clamp(min=0), between_D.clamp(min=0)
    least = _SHRINKAGE * (within_D.mean() + between_D.mean())
    matrix_DD = (axes_DD * (within_D + least)) @ axes_DD.T @ (people_DD / (between_D + least).sqrt()) @ people_DD.T
    both_DD = matrix_DD @ (within_DD + (people_DD * between_D) @ people_DD.T) @ matrix_DD.T
    return matrix_DD / both_DD.diagonal().mean().sqrt()


def in_coordinates(network: FabNet, matrix_DD: Tensor, origin_D: Tensor) -> FabNet:
    """The same function, with embeddings z' = matrix (z - origin).

    Args:
        network: with embeddings as trained; it stays as it is.
        matrix_DD: has an inverse.
        origin_D: becomes zero.

    Returns:
        A network on the CPU, in evaluation mode.
    """
    matrix_DD, origin_D = matrix_DD.double().cpu(), origin_D.double().cpu()
    inverse_DD = torch.linalg.inv(matrix_DD)
    changed = _with(network, replace(network.conventions, read_back=True), matrix_DD, inverse_DD, origin_D)
    with torch.no_grad():
        assert changed.read_back is not None
        changed.read_back.weight.copy_(inverse_DD)
        changed.read_back.bias.copy_(origin_D)
    return changed


def as_trained(network: FabNet) -> FabNet:
    """The same function, with the embeddings that the decoders know; the network itself where it has those.

    Args:
        network: stays as it is.
    """
    if network.read_back is None:
        return network
    back_DD, origin_D = (each.detach().double().cpu() for each in (network.read_back.weight, network.read_back.bias))
    conventions = replace(network.conventions, read_back=False)
    matrix_DD = torch.linalg.inv(back_DD)
    return _with(network, conventions, back_DD, matrix_DD, -matrix_DD @ origin_D)


@torch.no_grad()
def _with(network: FabNet, conventions: Conventions, matrix_DD: Tensor, inverse_DD: Tensor, origin_D: Tensor) -> FabNet:
    """A network whose encoder gives matrix (z - origin), and whose histogram head goes back by the inverse."""
    encoder, head = network.encoder, network.histogram_head is not None
    sizes = encoder.image_size, network.base_filters, encoder.embedding_dim
    with torch.random.fork_rng(devices=[]):  # weights are drawn, and replaced
        changed = FabNet(*sizes, network.sources, conventions, network.flow_stride, network.shared_decoder, head)
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("read_back.")}
    left = changed.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all(name.startswith("read_back.") for name in left.missing_keys)
    last = changed.encoder.layers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.weight.copy_(torch.einsum("ed,dchw->echw", matrix_DD, last.weight.double()))
    last.bias.copy_(matrix_DD @ (last.bias.double() - origin_D))
    if changed.histogram_head is not None:  # tells differences alone, for which the origin is nothing
        told = changed.histogram_head.told
        told.weight.copy_((told.weight.double()[:, :, 0, 0] @ inverse_DD)[..., None, None])
    return changed.eval()
