"""Batch norm over the samples of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with every batch norm taking its statistics over all processes; names of its state stay as they are."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            other = PlainSyncBatchNorm(layer.num_features, layer.eps, layer.momentum)
            other.load_state_dict(layer.state_dict())
            setattr(model, name, other)
        else:
            synchronised(layer, device)
    return model


class PlainSyncBatchNorm(nn.BatchNorm2d):
    """What `nn.SyncBatchNorm` does, which runs on GPUs alone, from sums that autograd follows across processes.

    Shares of the batch may differ in size. Statistics are taken in float32 in two passes: mean, then squares around it.
    """

    def forward(self, image_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(image_BCHW)
        values = image_BCHW.float()
        count = torch.tensor(float(values.numel() // values.shape[1]), device=values.device)
        dist.all_reduce(count)
        mean_C = _sum_over_processes(values.sum(dim=(0, 2, 3))) / count
        centred = values - mean_C[:, None, None]
        variance_C = _sum_over_processes(centred.square().sum(dim=(0, 2, 3))) / count
        self._remember(mean_C.detach(), variance_C.detach() * count / (count - 1))
        scale_C = self.weight * torch.rsqrt(variance_C + self.eps)
        output = centred * scale_C[:, None, None] + self.bias[:, None, None]
        return output.to(image_BCHW.dtype)

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor) -> None:
        momentum = self.momentum if self.momentum is not None else 0.1
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(variance_C, momentum)
        self.num_batches_tracked += 1


class _Sum(torch.autograd.Function):
    """The sum of a tensor over processes; since each of them uses it, gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)
    return total
