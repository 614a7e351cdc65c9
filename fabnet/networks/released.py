"""The names of the authors' released weights, and ours.

Theirs are `encoder.N`, `decoder.N` and `mask.N`, N being the place in an nn.Sequential; LeakyReLU, ReLU and upsampling
have places but no weights. Our layers stand in the same order, so that only the names of the three parts differ. Their
class always has a mask decoder; it is trained only with several sources. They were saved before batch norm counted its
batches: the count, which only a momentum of None would use, may be absent.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fabnet.errors import UserError
from fabnet.networks.fabnet import FabNet

#: Our parts and theirs.
PARTS = {"encoder.layers.": "encoder.", "flow_decoder.layers.": "decoder.", "confidence_decoder.layers.": "mask."}
_COUNT = "num_batches_tracked"

#: Of encoder layers: images of 16 to 1024 pixels.
_DEPTHS = range(4, 11)


class ReleasedNetwork(NamedTuple):
    """A network of the authors' layout in our names.

    Attributes:
        state: the state dict of FabNet(image_size, base_filters, embedding_dim, sources), in float32.
        left_out: their names of what a network for `sources` does not have: the mask decoder, if there is one source.
    """

    state: dict[str, Tensor]
    image_size: int
    base_filters: int
    embedding_dim: int
    sources: int
    left_out: tuple[str, ...]


def from_released(tensors: Mapping[str, Tensor], where: str, sources: int | None = None) -> ReleasedNetwork:
    """Our state dict of theirs; every key is used, or known to be superfluous, or an error.

    Args:
        tensors: their state dict, whose names may all begin with the `module.` of nn.DataParallel.
        where: the file, for errors.
        sources: source frames that the network is for; None is 3 (their "4 views") where there is a mask decoder.

    Raises:
        UserError: a key is unknown or missing, or its tensor has another shape or type, or is not finite; names it.
    """
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    masks = tuple(name for name in tensors if name.startswith("mask."))
    if sources is None:
        sources = 3 if masks else 1
    if sources > 1 and not masks:
        raise UserError(f"{where}: has no mask.N, the decoder of confidences that {sources} sources need; --sources 1")
    size, filters, dimension = _sizes(tensors, where)
    # Names and shapes alone: no memory for weights that are not kept.
    with torch.device("meta"):
        expected = FabNet(size, filters, dimension, sources).state_dict()
    left_out = masks if sources == 1 else ()
    theirs = {ours: _released_name(ours) for ours in expected}
    unknown = sorted(tensors.keys() - set(theirs.values()) - set(left_out))
    what = f"a FAb-Net of {size} px, {filters} filters and {dimension} dimensions"
    if unknown:
        raise UserError(f"{where}: {unknown[0]}: {what} has no such weights")
    state = {}
    for ours, name in theirs.items():
        # Saved before batch norm counted its batches; the count plays no part in evaluation.
        if name.endswith(_COUNT) and name not in tensors:
            state[ours] = torch.zeros((), dtype=torch.int64)
        elif name not in tensors:
            raise UserError(f"{where}: lacks {name}, which {what} has")
        else:
            state[ours] = _checked(tensors[name], expected[ours], f"{where}: {name}", what)
    return ReleasedNetwork(state, size, filters, dimension, sources, left_out)


def _released_name(ours: str) -> str:
    (theirs,) = (their + ours.removeprefix(our) for our, their in PARTS.items() if ours.startswith(our))
    return theirs


def _sizes(tensors: Mapping[str, Tensor], where: str) -> tuple[int, int, int]:
    """Image size by the number of the encoder's convolutions, and what their shapes tell: filters and dimension."""
    convolutions = {
        int(place): value
        for name, value in tensors.items()
        for part, _, rest in (name.partition("."),)
        for place, _, kind in (rest.partition("."),)
        if part == "encoder" and place.isdecimal() and kind == "weight" and value.ndim == 4
    }
    if len(convolutions) not in _DEPTHS or 0 not in convolutions:
        first = next(iter(tensors), "nothing")
        raise UserError(
            f"{where}: not FAb-Net's: it has {len(convolutions)} convolutions encoder.N.weight, not one for each of 8 "
            f"halvings of 256 px; its first key is {first}"
        )
    return 2 ** len(convolutions), convolutions[0].shape[0], convolutions[max(convolutions)].shape[0]


def _checked(value: Tensor, expected: Tensor, key: str, what: str) -> Tensor:
    """`value` in the type of `expected`."""
    if value.shape != expected.shape:
        raise UserError(f"{key}: is {_text(value)}, but {what} has {_text(expected)} there")
    if value.is_floating_point() != expected.is_floating_point() or value.is_complex():
        raise UserError(f"{key}: is of type {value.dtype}, not {expected.dtype}")
    converted = value.to(expected.dtype)
    if not converted.isfinite().all():
        raise UserError(f"{key}: has numbers that are not finite; the file is damaged, or its training diverged")
    if key.endswith("running_var") and (converted < 0).any():
        raise UserError(f"{key}: has variances below zero; the file is damaged")
    return converted.contiguous().clone()


def _text(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
