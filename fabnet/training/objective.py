"""What training minimises."""

from torch import Tensor


def reconstruction_loss(generated_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean absolute difference over pixels and channels, kept per sample: (B,).

    Values are in [-1, 1], so that 2 is the largest possible loss.
    """
    return (generated_BCHW - target_BCHW).abs().mean(dim=(1, 2, 3))
