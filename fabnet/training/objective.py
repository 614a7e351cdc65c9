"""What training minimises: losses per sample, (B,), of a network's output, given its target frames.

Those of rotation and split-brain know their targets from the frame itself, and need it no more.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fabnet.networks.fabnet import others


def reconstruction_loss(generated_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean absolute difference over pixels and channels, kept per sample: (B,).

    Values are in [-1, 1], so that 2 is the largest possible loss.

    Args:
        generated_BCHW: output of the network.
        target_BCHW: the frames it should be.
    """
    return (generated_BCHW - target_BCHW).abs().mean(dim=(1, 2, 3))


def every_view_loss(generated_VKBCHW: Tensor, views_VBCHW: Tensor, mask_VB: Tensor | None) -> Tensor:
    """Mean absolute difference over all that was generated of a sample, (B,).

    Args:
        generated_VKBCHW: K pictures of each view, see FabNet.forward; K = V - 1: each from one of the others.
        views_VBCHW: the true frames.
        mask_VB: False for padding, of which and from which alone nothing counts.
    """
    views, kinds = generated_VKBCHW.shape[:2]
    losses_VKB = (generated_VKBCHW - views_VBCHW[:, None]).abs().mean(dim=(3, 4, 5))
    if mask_VB is None:
        return losses_VKB.mean(dim=(0, 1))
    real_VKB = mask_VB[:, None].expand_as(losses_VKB)
    if kinds == views - 1:
        real_VKB = real_VKB & mask_VB[others(views, mask_VB.device)]
    return losses_VKB.where(real_VKB, 0).sum(dim=(0, 1)) / real_VKB.sum(dim=(0, 1))


def copying_loss(views_VBCHW: Tensor, mask_VB: Tensor | None, merges: bool, every_view: bool) -> Tensor:
    """Loss of a network that moves no pixel, (B,): what it must beat to have learnt how faces move.

    A network with one source shows that source. One that merges several shows, of each target, whichever is closest to
    it: one of its sources, or their mean. A network that moves nothing and has no preference shows the mean, and one
    that only finds the closest source shows that one; neither counts as below this loss.

    Args:
        views_VBCHW: frames of one face per sample.
        mask_VB: False for padding; None where there is none. The first view and at least one other are always real.
        merges: whether the network makes a target of all its sources together, or of each by itself.
        every_view: whether each view is a target, not only the first one.
    """
    views, batch = views_VBCHW.shape[:2]
    real_VB = torch.ones(views, batch, dtype=torch.bool, device=views_VBCHW.device) if mask_VB is None else mask_VB
    total_B, shown_B = torch.zeros((2, batch), device=views_VBCHW.device)
    for target, row in enumerate(others(views, views_VBCHW.device)[: views if every_view else 1]):
        sources_NBCHW, real_NB = views_VBCHW[row], real_VB[row]
        losses_NB = (sources_NBCHW - views_VBCHW[target]).abs().mean(dim=(2, 3, 4))
        if merges:
            share_NB = real_NB / real_NB.sum(dim=0)
            mean_BCHW = (sources_NBCHW * share_NB[..., None, None, None]).sum(dim=0)
            closest_B = losses_NB.where(real_NB, torch.inf).amin(dim=0)
            losses_NB = torch.minimum(closest_B, reconstruction_loss(mean_BCHW, views_VBCHW[target]))[None]
            real_NB = real_NB.any(dim=0, keepdim=True)
        counted_NB = real_NB & real_VB[target]
        total_B += losses_NB.where(counted_NB, 0).sum(dim=0)
        shown_B += counted_NB.sum(dim=0)
    return total_B / shown_B


def rotation_loss(scores_BTT: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean cross-entropy over the turns of a frame; chance is log 4.

    Args:
        scores_BTT: log-odds: of sample, true turn, predicted turn.
        target_BCHW: the frames; not used.
    """
    batch, turns, _ = scores_BTT.shape
    true_BT = torch.arange(turns, device=scores_BTT.device).expand(batch, turns)
    # As rows of classes: CUDA has no deterministic kernel for classes in the second of three dimensions.
    losses = functional.cross_entropy(scores_BTT.flatten(0, 1), true_BT.flatten(), reduction="none")
    return losses.view(batch, turns).mean(dim=1)


def split_brain_loss(error_B3HW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean squared error of lightness plus that of colour, in the units of networks.pretext.ToLab.

    The halves share no weights, so that neither error weighs on the other's half.

    Args:
        error_B3HW: predicted minus true lightness, a* and b*.
        target_BCHW: the frames; not used.
    """
    squared_B3 = error_B3HW.square().mean(dim=(2, 3))
    return squared_B3[:, 0] + squared_B3[:, 1:].mean(dim=1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "fabnet": reconstruction_loss,
    "autoencoder": reconstruction_loss,
    "rotation": rotation_loss,
    "split_brain": split_brain_loss,
}
