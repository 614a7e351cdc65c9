"""FAb-Net as its authors have it, written apart from fabnet.networks, and files as they saved it."""

import pickle
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def reference_encoder(size: int, filters: int, dimension: int) -> nn.Sequential:
    """4x4 convolutions of stride 2 down to 1 x 1; batch norm on all but the first and the last."""
    layers: list[nn.Module] = [nn.Conv2d(3, filters, 4, 2, 1)]
    width, channels, side = 1, filters, size // 2
    while side > 2:
        width = min(2 * width, 8)
        layers += [nn.LeakyReLU(0.2, True), nn.Conv2d(channels, width * filters, 4, 2, 1)]
        channels, side = width * filters, side // 2
        layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2, True), nn.Conv2d(channels, dimension, 4, 2, 1))


def reference_decoder(size: int, filters: int, inputs: int, outputs: int, aligned: bool) -> nn.Sequential:
    """ReLU, bilinear x2, 3x3 convolution, batch norm (none after the last), tanh; ... 8b, 8b, 4b, 2b, b, outputs."""
    widths, side = [1, 2, 4], size
    while len(widths) < size.bit_length() - 2:
        widths.append(8)
    layers: list[nn.Module] = []
    channels, side = inputs, 1
    for width in reversed(widths[: size.bit_length() - 2]):
        up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=aligned)
        layers += [nn.ReLU(), up, nn.Conv2d(channels, width * filters, 3, 1, 1), nn.BatchNorm2d(width * filters)]
        channels, side = width * filters, side * 2
    assert 2 * side == size
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=aligned)
    return nn.Sequential(*layers, nn.ReLU(), up, nn.Conv2d(channels, outputs, 3, 1, 1), nn.Tanh())


class Reference(nn.Module):
    """The authors' class: a mask decoder is always there. Pixels are in [0, 1], as ToTensor gives them."""

    def __init__(self, size: int = 256, filters: int = 32, dimension: int = 256, aligned: bool = True) -> None:
        super().__init__()
        self.encoder = reference_encoder(size, filters, dimension)
        self.decoder = reference_decoder(size, filters, 2 * dimension, 2, aligned)
        self.mask = reference_decoder(size, filters, 2 * dimension, 1, aligned)

    def generate(self, target: Tensor, sources: list[Tensor]) -> Tensor:
        """The target made of the sources: (B, 3, H, W) in [0, 1], weighted by exp(mask) / sum of exp(mask)."""
        wanted = self.encoder(target)
        axis = torch.linspace(-1, 1, target.shape[-1])
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
        moved, weights = [], []
        for source in sources:
            pair = torch.cat((self.encoder(source), wanted), 1)
            sampler = (self.decoder(pair).permute(0, 2, 3, 1) + grid).clamp(-1, 1)
            moved.append(functional.grid_sample(source, sampler, align_corners=True))
            weights.append(self.mask(pair).exp())
        return torch.stack([m * w for m, w in zip(moved, weights, strict=True)]).sum(0) / torch.stack(weights).sum(0)


def reference_network(seed: int = 0, **sizes: Any) -> Reference:
    """A network with statistics of batch norm, and biases and scales, that are not those it begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Reference(**sizes)
        randomise(network)
    return network.eval()


def reference_probe(outputs: int, dimension: int = 256, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = nn.Sequential(nn.BatchNorm1d(dimension), nn.Linear(dimension, outputs, bias=False))
        randomise(probe)
    return probe.eval()


def randomise(network: nn.Module) -> None:
    """Give batch norms statistics that matter and layers outputs of a size that matters."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.2, 1.0)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)


def old_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """As PyTorch before 0.4.1 gave it: batch norm did not count its batches."""
    return {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Texts as Python 2 wrote its `str`."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]  # noqa: RUF012

    def save_str(self, text: str) -> None:
        data = text.encode("ascii")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_str


def save_as_in_2018(value: Any, path: Path) -> None:
    """torch.save of Python 2 and PyTorch 0.4: no zip, a pickle of protocol 2 and the storages behind it."""
    module: Any = types.ModuleType("python2")
    module.Pickler = _Python2Pickler
    module.dump = lambda content, file, protocol: _Python2Pickler(file, protocol).dump(content)
    torch.save(value, path, pickle_module=module, pickle_protocol=2, _use_new_zipfile_serialization=False)
