"""The description of a trained model, model.json: its keys, and whether it fits the weights beside it."""

from pathlib import Path
from typing import Any

from fabnet import __version__
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json
from fabnet.networks.build import OBJECTIVES, WEIGHTS

#: Keys of model.json: those that every model has, and those that others may have besides.
_REQUIRED = ("objective", "image_size", "base_filters", "embedding_dim", "recipe", "weights_sha256")
_KNOWN = {
    *_REQUIRED,
    *("variant", "sources", "flow_stride", "shared_decoder", "conventions", "params", "inputs", "imported"),
    *("corrupt_frames", "best_step", "best_validation_loss"),
}


def read_card(directory: Path) -> dict[str, Any]:
    """Read the model.json of a folder as `train` writes it, and make sure that its weights are those described.

    Raises:
        UserError: a file is absent or damaged, the weights are others, or a newer version wrote the description.
    """
    path, weights = directory / "model.json", directory / WEIGHTS
    for file in (path, weights):
        if not file.is_file():
            raise UserError(f"{file}: no such file; a model is a folder as `train` writes it, such as models/NAME")
    try:
        card = read_json(path)
        check_card(card, path)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not the description of a model: {error}") from None
    sha256 = hash_file(weights)
    if sha256 != card["weights_sha256"]:
        raise UserError(
            f"{weights}: has SHA-256 {sha256[:12]}..., but model.json describes weights "
            f"{card['weights_sha256'][:12]}...; fetch or train the model again"
        )
    described: dict[str, Any] = card
    return described


def check_card(card: Any, where: Path) -> None:
    """Refuse a model.json that lacks a key, or is of a newer version, whose weights might mean something else.

    Args:
        card: its content.
        where: the file, for the error.

    Raises:
        UserError: names the key.
    """
    if missing := [key for key in _REQUIRED if key not in card]:
        raise UserError(f"{where}: lacks {', '.join(missing)}; train the variant again")
    unknown = sorted(card.keys() - _KNOWN)
    if unknown or card["objective"] not in OBJECTIVES:
        what = f"key {unknown[0]}" if unknown else f"objective {card['objective']}"
        raise UserError(
            f"{where}: {what} is unknown to fabnet {__version__}; if a newer one trained this model, install that"
        )
