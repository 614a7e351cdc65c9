"""Encoders that are published on a hub: image models of timm, and vision models of Transformers.

What is in the cache on disk is taken from there; the network is asked only for what is not. Code of a hub never runs.
"""

import hashlib
import socket
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fabnet.config.encoders import EncoderParams, Interpolation
from fabnet.encoders.encoder import Encoder, Preprocessing, network_forward
from fabnet.errors import UserError, one_line
from fabnet.files import hash_file
from fabnet.networks.tensor_files import read_file

T = TypeVar("T")


def open_timm(name: str, params: EncoderParams) -> Encoder:
    """A model of timm without its classifier: what it pools is the embedding.

    The whole image is shown at the model's side: timm's centre crop (`crop_pct`) would cut off the face's border.

    Args:
        name: of the encoder.
        params: its source, and a file of weights in place of the published ones.

    Raises:
        UserError: timm is not installed or knows no such model; its weights are neither in the cache nor to be had; or
            the file's are not those of this model.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise _not_installed(params.source, error) from None
    if params.weights is not None and not params.weights.is_file():
        raise UserError(f"{params.source}: {params.weights}: no such file")
    try:
        if params.weights is None:
            network = _cached_or_fetched(lambda: timm.create_model(params.what, pretrained=True), params.source)
        else:
            network = _timm_from_file(timm, params.what, params.weights)
        network.reset_classifier(0)
        config = timm.data.resolve_model_data_config(network)
    except UserError:
        raise
    except Exception as error:  # timm raises whatever its parts do
        where = f" with the weights {params.weights}" if params.weights is not None else ""
        raise UserError(f"{params.source}{where}: {one_line(error)}") from error
    prepare = _timm_preprocessing(config, params.source)
    return Encoder(
        name=name,
        source=params.source,
        saw=params.shown_saw,
        weights_sha256=hash_state(network) if params.weights is None else hash_file(params.weights),
        size=prepare.size,
        interpolation=prepare.interpolation,
        told={"kind": "timm", "model": params.what, **prepare.told()},
        forward=network_forward(network, prepare, lambda features: features),
    )


def _timm_from_file(timm: Any, model: str, path: Path) -> nn.Module:
    """The model with the weights of a file, all of them, whatever number of classes its classifier has."""
    state = read_file(path).network()
    config = timm.models.get_pretrained_cfg(model)
    heads = getattr(config, "classifier", None) or ()
    heads = (heads,) if isinstance(heads, str) else heads
    sizes = [len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state]
    classes = sizes[0] if sizes else 0
    # Of as many classes as the file, timm compares every name and shape.
    overlay = {"state_dict": state, "num_classes": classes, "source": "", "custom_load": False}
    network: nn.Module = timm.create_model(model, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay)
    return network


def _timm_preprocessing(config: Mapping[str, Any], source: str) -> Preprocessing:
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise UserError(f"{source}: takes {channels} x {height} x {width}; faces are square images of three colours")
    return Preprocessing(height, tuple(config["mean"]), tuple(config["std"]), _known(config["interpolation"], source))


def open_hf(name: str, params: EncoderParams) -> Encoder:
    """A vision model of Transformers: by its name on the hub, or a folder that holds one.

    Its image processor scales and normalises. The whole image is shown at the side that the processor gives the model:
    its centre crop would cut off the face's border.

    Args:
        name: of the encoder.
        params: its source, and which output is the embedding.

    Raises:
        UserError: transformers is not installed; there is no such model, or it is neither in the cache nor to be had;
            or it takes no images or gives no such output.
    """
    try:
        from transformers import AutoImageProcessor, AutoModel
        from transformers.utils import logging
    except ModuleNotFoundError as error:
        raise _not_installed(params.source, error) from None

    logging.set_verbosity_error()  # what it warns of, weights that are missing, is an error below

    def load() -> tuple[Any, nn.Module, Mapping[str, Any]]:
        processor = AutoImageProcessor.from_pretrained(params.what, trust_remote_code=False)
        model, info = AutoModel.from_pretrained(
            params.what, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
        return processor, model, info

    try:
        processor, model, info = load() if Path(params.what).is_dir() else _cached_or_fetched(load, params.source)
    except UserError:
        raise
    except Exception as error:  # Transformers raises whatever its parts do
        raise UserError(f"{params.source}: {one_line(error)}") from error
    # A pooler that the file lacks is drawn at random, with no more than a warning.
    missing = sorted({*info["missing_keys"], *(str(each[0]) for each in info["mismatched_keys"])})
    drawn = [key for key in missing if "pooler" not in key]
    if drawn:
        raise UserError(f"{params.source}: lacks weights of its network, such as {drawn[0]}")
    if missing and params.output == "pooler":
        raise UserError(f"{params.source}: lacks the weights of its pooler; choose another `output`: cls or mean")
    told = processor.to_dict()
    size, interpolation = _side(told, params.source), _resample(told, params.source)

    def prepare(images: NDArray[np.uint8]) -> NDArray[Any]:
        return np.asarray(
            processor(
                images=list(images),
                do_resize=False,
                do_center_crop=False,
                input_data_format="channels_last",
                return_tensors="np",
            )["pixel_values"]
        )

    output = params.output or ("cls" if missing else "auto")
    return Encoder(
        name=name,
        source=params.source,
        saw=params.shown_saw,
        weights_sha256=hash_state(model, missing),
        size=size,
        interpolation=interpolation,
        told={"kind": "hf", "output": output, "processor": dict(sorted(told.items()))},
        forward=network_forward(_Vision(model), prepare, lambda found: _embedding(found, output, params.source)),
    )


class _Vision(nn.Module):
    """The part of a model that takes images: of a model of images and texts, that of images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, pixel_values: Tensor) -> Any:
        take: Callable[..., Any] = getattr(self._model, "get_image_features", self._model)
        return take(pixel_values=pixel_values)


def _embedding(found: Any, output: str, source: str) -> Tensor:
    if isinstance(found, Tensor):
        return found
    pooled, hidden = getattr(found, "pooler_output", None), getattr(found, "last_hidden_state", None)
    if output in ("auto", "pooler") and pooled is not None:
        embedding: Tensor = pooled.flatten(1)
    elif output in ("auto", "cls") and hidden is not None and hidden.ndim == 3:
        embedding = hidden[:, 0]
    elif output == "mean" and hidden is not None:
        embedding = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)
    else:
        raise UserError(f"{source}: gives no output `{output}`; choose another `output`: pooler, cls or mean")
    return embedding


def _side(told: Mapping[str, Any], source: str) -> int:
    """The side of the images that a processor gives its model."""
    wanted = told.get("crop_size") if told.get("do_center_crop") else told.get("size")
    sides = {int(side) for side in (wanted.values() if isinstance(wanted, Mapping) else [wanted or 0]) if side}
    if len(sides) != 1:
        raise UserError(f"{source}: its image processor gives no square images of one side, but {wanted}")
    return sides.pop()


def _resample(told: Mapping[str, Any], source: str) -> Interpolation:
    number = told.get("resample")
    return _known("bilinear" if number is None else Image.Resampling(int(number)).name.lower(), source)


def _known(interpolation: str, source: str) -> Interpolation:
    found: Interpolation | None = next((each for each in get_args(Interpolation) if each == interpolation), None)
    if found is None:
        raise UserError(f"{source}: resizes by {interpolation}, which is unknown here")
    return found


def hash_state(network: nn.Module, without: Collection[str] = ()) -> str:
    """SHA-256 of a network's weights: names, types, shapes and values, in the order of the names.

    Args:
        network: whose state dict is hashed.
        without: names that are left out, since nothing was read for them.
    """
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        if key in without:
            continue
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _not_installed(source: str, error: ModuleNotFoundError) -> UserError:
    return UserError(f"{source}: needs {error.name}, which is not installed: pip install 'fabnet[encoders]'")


def _cached_or_fetched(load: Callable[[], T], source: str) -> T:
    """What `load` gives from the cache of the hub, so that a second run neither waits nor meets other weights.

    Args:
        load: asks the hub.
        source: for the error.

    Raises:
        UserError: it is not in the cache, and the hub does not give it.
    """
    from huggingface_hub import constants

    with _offline():
        try:
            return load()
        except OSError as error:
            absent = error
    why = "HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        why = "its hub cannot be reached"
        if _found(urlsplit(constants.ENDPOINT).hostname or ""):
            try:
                return load()
            except OSError as error:
                why, absent = f"its hub does not give it: {one_line(error, 120)}", error
    raise UserError(
        f"{source}: is not in the cache of this machine ({constants.HF_HUB_CACHE}), and {why}; copy the cache from a "
        "machine that has it, or name a local file (timm: `weights`) or folder (hf:FOLDER)"
    ) from absent


@contextmanager
def _offline() -> Iterator[None]:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _found(host: str) -> bool:
    """Whether the hub's address is known: without a network, its client would try again for a minute."""
    if "https" in urllib.request.getproxies():  # which looks it up
        return True
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False
