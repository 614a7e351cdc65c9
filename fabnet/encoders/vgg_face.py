"""The VGG-Face descriptor (Parkhi, Vedaldi and Zisserman 2015): FC7 of a VGG-16 that learnt who is who.

Preprocessing as published: the crop at 224 px, values of 0 to 255 minus the mean colour, without scaling. The
descriptor is FC7 after its ReLU, which the paper, speaking of FC7 features, leaves open: 4096 numbers, none below zero.
They are divided by their length where identities are compared; a probe, which begins with batch norm, gets them as they
are.

Weights are read in their published forms, under one set of names; code in the files never runs:

- `vgg_face.mat` of the authors, and MatConvNet's `vgg-face.mat`: layers by name, H x W x C x K, under `net` or not.
- A PyTorch state dict (`.pth`) with the names conv1_1 ... fc7, as conversions of those have (vgg_face_dag.pth), with
  conv_1_1 ... fc7, as those of the authors' Torch7 file have, or with torchvision's features.N and classifier.N.
- The same names in `.safetensors`.

What stands in a file beyond the layers up to fc7, such as the classes, is left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fabnet.config.encoders import EncoderParams
from fabnet.encoders.encoder import Encoder, network_forward
from fabnet.errors import UserError
from fabnet.files import hash_file
from fabnet.networks.tensor_files import read_file, why_unreadable

#: Convolutions of each of the five blocks of VGG-16 (configuration D), each block closed by max pooling.
BLOCKS = (2, 2, 3, 3, 3)
CONVOLUTIONS = tuple(f"conv{block}_{number}" for block, count in enumerate(BLOCKS, 1) for number in range(1, count + 1))
LAYERS = (*CONVOLUTIONS, "fc6", "fc7")

#: torchvision counts ReLU and pooling too, and dropout.
_TORCHVISION = dict(
    zip(
        (
            *(f"features.{place}" for place in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
            "classifier.0",
            "classifier.3",
        ),
        LAYERS,
        strict=True,
    )
)

#: Of the authors' training faces: red, green, blue.
MEAN_COLOUR = (129.1863, 104.7624, 93.5940)


@dataclass(frozen=True)
class Shape:
    """How wide the network is: filters of each block, outputs of fc6 and fc7, pixels of a crop."""

    filters: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    size: int = 224

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Shape of each layer's weight, in PyTorch's order."""
        shapes: dict[str, tuple[int, ...]] = {}
        channels = 3
        for block, (count, filters) in enumerate(zip(BLOCKS, self.filters, strict=True), 1):
            for number in range(1, count + 1):
                shapes[f"conv{block}_{number}"] = (filters, channels, 3, 3)
                channels = filters
        side = self.size // 2 ** len(BLOCKS)
        return {**shapes, "fc6": (self.hidden, channels * side * side), "fc7": (self.hidden, self.hidden)}


PUBLISHED = Shape()


@dataclass(frozen=True)
class Weights:
    """A state dict `conv1_1.weight` ... `fc7.bias`, float32, and the order of colours its first layer wants."""

    state: dict[str, Tensor]
    colours: str  # RGB or BGR


def read_weights(path: Path, shape: Shape) -> Weights:
    """The weights in a file.

    Args:
        path: of a .mat, .pth or .safetensors file.
        shape: of the network.

    Raises:
        UserError: the file is absent, cannot be read, or lacks a layer or has one of another shape; one line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".mat":
        return Weights(_matconvnet(path, shape), "RGB")
    values = _state_dict(path)
    named = {_ours(name): value for name, value in values.items()}
    # The authors' Torch7 file stems from Caffe and wants BGR; the conversions of MatConvNet's files keep its RGB.
    torch7 = any(re.match(r"(module\.)?conv_\d_\d\.", name) for name in values)
    state = {
        f"{layer}.{part}": _found(named, f"{layer}.{part}", path) for layer in LAYERS for part in ("weight", "bias")
    }
    return Weights(_checked(state, shape, path), "BGR" if torch7 else "RGB")


def _ours(name: str) -> str:
    """features.0.weight, conv_1_1.weight or module.conv1_1.weight -> conv1_1.weight; other names as they are."""
    layer, _, part = name.removeprefix("module.").rpartition(".")
    layer = re.sub(r"^conv_(\d_\d)$", r"conv\1", layer)
    layer = re.sub(r"^fc_?([67])$", r"fc\1", layer)
    return f"{_TORCHVISION.get(layer, layer)}.{part}"


def _found(named: Mapping[str, Any], key: str, path: Path) -> Tensor:
    if key not in named:
        there = ", ".join(list(named)[:3]) or "nothing"
        raise UserError(f"{path}: lacks {key} of VGG-16; it holds {there} ... (docs/baselines.md has the forms read)")
    value = named[key]
    if not isinstance(value, Tensor) or value.layout != torch.strided or not value.is_floating_point():
        raise UserError(f"{path}: {key}: is no plain tensor of floating-point numbers")
    return value.float()


def _checked(state: dict[str, Tensor], shape: Shape, path: Path) -> dict[str, Tensor]:
    """The state with fully connected layers as matrices, in the shapes that the network has."""
    for layer, wanted in shape.weights().items():
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        if layer.startswith("fc") and weight.ndim == 4:  # as a convolution over the whole map
            weight = weight.flatten(1)
        for name, value, want in (("weight", weight, wanted), ("bias", bias, wanted[:1])):
            if tuple(value.shape) != want:
                raise UserError(f"{path}: {layer}.{name}: is {_text(value.shape)}, but VGG-16 has {_text(want)} there")
            if not value.isfinite().all():
                raise UserError(f"{path}: {layer}.{name}: has numbers that are not finite; the file is damaged")
        state[f"{layer}.weight"], state[f"{layer}.bias"] = weight.contiguous(), bias.contiguous()
    return state


def _state_dict(path: Path) -> dict[str, Any]:
    """Tensors by name, of a file that is a state dict or holds one under `state_dict`."""
    values = read_file(path).values
    if isinstance(values.get("state_dict"), Mapping):
        values = dict(values["state_dict"])
    if not all(isinstance(name, str) for name in values):
        raise UserError(f"{path}: holds no state dict, whose keys would be names")
    return values


def _matconvnet(path: Path, shape: Shape) -> dict[str, Tensor]:
    import scipy.io

    try:
        content = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True, variable_names=["net", "layers"])
    except NotImplementedError:  # version 7.3 is HDF5, which SciPy does not read
        raise UserError(f"{path}: a MATLAB file of version 7.3, which is not read; save it with `save -v7`") from None
    except Exception as error:  # SciPy meets damaged files with anything from IndexError to zlib.error
        raise UserError(f"{path}: not a readable .mat file: {why_unreadable(error)}") from None
    layers = getattr(content.get("net"), "layers", content.get("layers"))
    if layers is None:
        raise UserError(f"{path}: has no `layers` of MatConvNet, neither by itself nor in `net`")
    weighted = (layer for layer in np.atleast_1d(layers) if hasattr(layer, "weights") or hasattr(layer, "filters"))
    named = {str(getattr(layer, "name", "")): layer for layer in weighted}
    state: dict[str, Tensor] = {}
    for name, wanted in shape.weights().items():
        if name not in named:
            raise UserError(f"{path}: lacks the layer {name} of VGG-16; it holds {', '.join(list(named)[:3])} ...")
        filters, biases = _filters(named[name], name, path)
        state[f"{name}.weight"] = _from_hwck(filters, name, wanted, shape, path)
        state[f"{name}.bias"] = torch.from_numpy(np.ascontiguousarray(np.ravel(biases), dtype=np.float32))
    return _checked(state, shape, path)


def _filters(layer: Any, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Filters and biases of a layer: in `weights` since MatConvNet's beta 8, by themselves before."""
    parts = np.atleast_1d(layer.weights) if hasattr(layer, "weights") else [layer.filters, getattr(layer, "biases", [])]
    if len(parts) < 2:
        raise UserError(f"{path}: layer {name}: its `weights` are not filters and biases")
    filters, biases = (np.asarray(part) for part in parts[:2])
    if filters.dtype.kind != "f" or biases.dtype.kind != "f":
        raise UserError(f"{path}: layer {name}: its weights are {filters.dtype}, not floating-point numbers")
    return filters, biases


def _from_hwck(filters: np.ndarray, name: str, wanted: tuple[int, ...], shape: Shape, path: Path) -> Tensor:
    """A layer's filters, H x W x C x K, whose axes of length 1 SciPy has dropped, as PyTorch's K x C x H x W."""
    outputs = wanted[0]
    if name == "fc6":
        side = shape.size // 2 ** len(BLOCKS)
        axes = (side, side, wanted[1] // side**2, outputs)
    elif name == "fc7":
        axes = (1, 1, wanted[1], outputs)
    else:
        axes = (wanted[2], wanted[3], wanted[1], outputs)
    if filters.shape not in (axes, tuple(length for length in axes if length > 1)):
        raise UserError(f"{path}: layer {name}: is {_text(filters.shape)}, but VGG-16 has {_text(axes)} there")
    return torch.from_numpy(filters.reshape(axes).transpose(3, 2, 0, 1).astype(np.float32))


def _text(shape: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a number"


class VggFace(nn.Module):
    """Crops, uint8 RGB (N, S, S, 3), to descriptors, float32 (N, D). `size` is S, `dimension` D."""

    mean_colour: Tensor

    def __init__(self, weights: Weights, shape: Shape) -> None:
        super().__init__()
        self.size, self.dimension = shape.size, shape.hidden
        for name, wanted in shape.weights().items():
            with torch.device("meta"):
                layer = (
                    nn.Conv2d(wanted[1], wanted[0], 3, padding=1)
                    if len(wanted) == 4
                    else nn.Linear(wanted[1], wanted[0])
                )
            self.add_module(name, layer)
        self.load_state_dict(weights.state, assign=True)
        self.register_buffer("mean_colour", torch.tensor(MEAN_COLOUR), persistent=False)
        self._bgr = weights.colours == "BGR"
        self.requires_grad_(False).eval()

    def forward(self, crops_NSSC: Tensor) -> Tensor:
        x_NCSS = (crops_NSSC.float() - self.mean_colour).movedim(-1, 1)
        if self._bgr:
            x_NCSS = x_NCSS.flip(1)
        for name, following in zip(CONVOLUTIONS, LAYERS[1:], strict=False):
            x_NCSS = self.get_submodule(name)(x_NCSS).relu_()
            if following[:5] != name[:5]:  # the last of its block
                x_NCSS = nn.functional.max_pool2d(x_NCSS, 2)
        hidden_ND: Tensor = self.get_submodule("fc6")(x_NCSS.flatten(1)).relu_()
        descriptors_ND: Tensor = self.get_submodule("fc7")(hidden_ND).relu_()
        return descriptors_ND


def open_vgg_face(name: str, params: EncoderParams, shape: Shape = PUBLISHED) -> Encoder:
    """The descriptor as an encoder, with the weights of a file in any of the forms above.

    Args:
        name: of the encoder.
        params: its source, vgg_face:FILE.
        shape: of the network.

    Raises:
        UserError: see read_weights.
    """
    path = Path(params.what)
    network = VggFace(read_weights(path, shape), shape)
    return Encoder(
        name=name,
        source=params.source,
        saw=params.shown_saw,
        weights_sha256=hash_file(path),
        size=network.size,
        interpolation="bilinear",
        told={"kind": "vgg_face"},
        forward=network_forward(network, lambda crops: crops, lambda descriptors: descriptors),
    )
