"""The one door to an encoder that anybody made: `open_encoder`."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabnet.config.encoders import EncoderParams, read_encoder
from fabnet.encoders.encoder import Encoder, require_sound
from fabnet.encoders.hubs import open_hf, open_timm
from fabnet.encoders.onnx_file import open_onnx
from fabnet.encoders.vgg_face import open_vgg_face
from fabnet.errors import ConfigError, UserError, one_line
from fabnet.files import hash_file
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.networks.exports import is_export, read_export

__all__ = ["Encoder", "open_encoder", "require_sound"]

#: Side in pixels of the images that a function gets, unless it says otherwise.
_SIDE = 224


def open_encoder(source: str | EncoderParams, name: str | None = None) -> Encoder:
    """Open an encoder: `embed` maps uint8 RGB images (N, S, S, 3) of any side to float32 (N, D).

    Args:
        source: `timm:NAME`, `hf:NAME`, `onnx:FILE`, `module:PACKAGE.MODULE:FUNCTION`, `fabnet:MODEL` or
            `vgg_face:FILE`; or such a source with its options, as text (see config.encoders.read_encoder) or as params.
        name: by which tables call it; left out, it is made from the source.

    Raises:
        UserError: it cannot be opened, or its weights are not those that `sha256` names; one line.
    """
    if isinstance(source, str):
        given, params = read_encoder(source)
        name = name or given
    else:
        params = source
    if params.sha256 is not None and params.kind != "fabnet" and params.file is not None and params.file.is_file():
        _require_hash(params, hash_file(params.file))  # before the file is read
    encoder = _OPENERS[params.kind](name or _name_of(params), params)
    _require_hash(params, encoder.weights_sha256)
    return encoder


def _require_hash(params: EncoderParams, actual: str) -> None:
    if params.sha256 not in (None, actual):
        raise ConfigError(f"{params.source}: its weights have the SHA-256 {actual}, not {params.sha256} (`sha256`)")


def _name_of(params: EncoderParams) -> str:
    if params.kind == "module":
        return params.what.rpartition(":")[2]
    last = params.what.rstrip("/").rpartition("/")[2]
    last = re.sub(r"\.(onnx|mat|pth|safetensors)$", "", last)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", last).strip("_.-") or params.kind


def _open_function(name: str, params: EncoderParams) -> Encoder:
    """A function of anybody's module: uint8 RGB (B, S, S, 3) to (B, D)."""
    module_name, _, function_name = params.what.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does; the function may import what lies beside it later, too
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # anybody's code
        raise UserError(f"{params.source}: cannot be imported: {type(error).__name__}: {one_line(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"{params.source}: {module_name} has no function {function_name}")
    code = inspect.getsourcefile(module)
    if code is None:
        raise UserError(f"{params.source}: {module_name} has no source file, by which a change of it would be seen")
    if params.weights is not None and not params.weights.is_file():
        raise UserError(f"{params.source}: {params.weights}: no such file")
    size, interpolation = params.image_size or _SIDE, params.interpolation or "bilinear"
    code_sha256 = hash_file(code)
    return Encoder(
        name=name,
        source=params.source,
        saw=params.shown_saw,
        weights_sha256=hash_file(params.weights) if params.weights is not None else code_sha256,
        size=size,
        interpolation=interpolation,
        told={"kind": "module", "function": params.what, "code_sha256": code_sha256, "interpolation": interpolation},
        forward=function,
    )


def _open_model(name: str, params: EncoderParams) -> Encoder:
    """A model of ours, without its probes."""
    path = Path(params.what)
    model, card = read_export(path) if is_export(path) else load_model(path)
    model.requires_grad_(False)

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return next(embed_images(model.encoder, [images]))

    return Encoder(
        name=name,
        source=params.source,
        saw=params.shown_saw,
        weights_sha256=card["weights_sha256"],
        size=card["image_size"],
        interpolation="bilinear",
        told={"kind": "fabnet", "recipe_hash": card["recipe"]["hash"]},
        forward=forward,
    )


_OPENERS = {
    "timm": open_timm,
    "hf": open_hf,
    "onnx": open_onnx,
    "module": _open_function,
    "fabnet": _open_model,
    "vgg_face": open_vgg_face,
}
