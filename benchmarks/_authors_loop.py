"""A plain port of the authors' training step, written from the paper and the structure of their released code.

float32; one call of the encoder per view; flow and mask decoder always, also for one source; a loop over sources; a
merge by exponentials.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def plain_encoder(size: int, filters: int, dimension: int) -> nn.Sequential:
    """Pictures of `size` px, a power of two, to maps of one pixel with `dimension` channels."""
    channels = [3, *_hidden(size, filters), dimension]
    layers: list[nn.Module] = []
    last = len(channels) - 2
    for level in range(last + 1):
        if level > 0:
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(channels[level], channels[level + 1], 4, 2, 1))
        if 0 < level < last:
            layers.append(nn.BatchNorm2d(channels[level + 1]))
    return nn.Sequential(*layers)


def plain_decoder(size: int, filters: int, dimension: int, outputs: int) -> nn.Sequential:
    """Two embeddings, as one map of one pixel, to a map of `size` px with `outputs` channels."""
    channels = [2 * dimension, *reversed(_hidden(size, filters)), outputs]
    layers: list[nn.Module] = []
    last = len(channels) - 2
    for level in range(last + 1):
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        layers += [nn.ReLU(), up, nn.Conv2d(channels[level], channels[level + 1], 3, 1, 1)]
        if level < last:
            layers.append(nn.BatchNorm2d(channels[level + 1]))
    return nn.Sequential(*layers, nn.Tanh())


def _hidden(size: int, filters: int) -> list[int]:
    return [filters * min(2**level, 8) for level in range(size.bit_length() - 2)]


class AuthorsLoop:
    """The networks, their optimiser and the step."""

    def __init__(self, size: int, filters: int, dimension: int, device: torch.device) -> None:
        self.encoder = plain_encoder(size, filters, dimension)
        self.decoder, self.mask = (plain_decoder(size, filters, dimension, outputs) for outputs in (2, 1))
        modules = (self.encoder, self.decoder, self.mask)
        weights = [weight for module in modules for weight in module.to(device).parameters()]
        self.optimiser = torch.optim.SGD(weights, 0.001, momentum=0.9)
        axis = torch.linspace(-1, 1, size, device=device)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.grid = torch.stack((x, y), dim=-1)[None]

    def loss(self, views: list[Tensor]) -> Tensor:
        """The mean loss of a batch; views are (B, 3, H, W), the target first."""
        target, sources = views[0], views[1:]
        target_embedding = self.encoder(target)
        warped, weights = [], []
        for source in sources:
            pair = torch.cat((self.encoder(source), target_embedding), dim=1)
            grid = (self.grid + self.decoder(pair).permute(0, 2, 3, 1)).clamp(-1, 1)
            warped.append(functional.grid_sample(source, grid, align_corners=True))
            weights.append(torch.exp(self.mask(pair)))
        generated = sum(w * s for w, s in zip(weights, warped, strict=True)) / sum(weights)
        return (generated - target).abs().mean(dim=(1, 2, 3)).mean()

    def step(self, views: list[Tensor]) -> Tensor:
        self.optimiser.zero_grad()
        loss = self.loss(views)
        loss.backward()
        self.optimiser.step()
        return loss.detach()
