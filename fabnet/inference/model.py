"""A trained model as the stage `train` leaves it, checked before it is used."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from fabnet.errors import UserError
from fabnet.files import hash_file, read_json
from fabnet.networks.build import load_model

_WEIGHTS = "best.pt"
_KEYS = ("objective", "image_size", "base_filters", "embedding_dim", "recipe", "weights_sha256")


@dataclass(frozen=True)
class Model:
    """What a directory models/NAME says of itself; the weights stay on disk until `encoder` loads them.

    Attributes:
        size: side in pixels of the crops that the encoder sees.
        dimension: numbers of an embedding.
        recipe: the crop recipe of the frames it learnt from.
    """

    directory: Path
    name: str
    size: int
    dimension: int
    recipe: dict[str, Any]
    weights_sha256: str


def open_model(directory: Path) -> Model:
    """Read the description of a model and make sure that its weights are the ones it describes.

    Raises:
        UserError: a file is absent or damaged, or the weights are others than model.json says.
    """
    path = directory / "model.json"
    for file in (path, directory / _WEIGHTS):
        if not file.is_file():
            raise UserError(f"{file}: no such file; --model wants a directory as `train` writes it, models/NAME")
    try:
        card = read_json(path)
        missing = [key for key in _KEYS if key not in card]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not the description of a model: {error}") from None
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; train the variant again")
    sha256 = hash_file(directory / _WEIGHTS)
    if sha256 != card["weights_sha256"]:
        raise UserError(
            f"{directory / _WEIGHTS}: has SHA-256 {sha256[:12]}..., but model.json describes weights "
            f"{card['weights_sha256'][:12]}...; fetch or train the model again"
        )
    load_model(directory, _WEIGHTS)  # that they fit the network is better known now than in every worker
    return Model(
        directory,
        card.get("variant", directory.name),
        card["image_size"],
        card["embedding_dim"],
        card["recipe"],
        sha256,
    )


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> str:
    """Where to run; `auto` is the GPU where there is one.

    Raises:
        UserError: there is no GPU to use.
    """
    usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise UserError("--device cuda: no GPU that torch can use; leave the option out")
    return "cuda" if usable and name != "cpu" else "cpu"


@lru_cache(maxsize=1)
def encoder(model_directory: Path, weights_sha256: str) -> nn.Module:
    """The encoder of a model, loaded once by a process; the hash tells one content of a directory from another."""
    network, _ = load_model(model_directory, _WEIGHTS)
    loaded: nn.Module = network.encoder
    return loaded
