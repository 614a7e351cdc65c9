"""Where embeddings come from, and whether that fits together: numbers of other weights or crops mean other things.

`meta` is what meta.json says beside embeddings. What it leaves out, or says as null, is not known and fits everything:
features that took no learning have no weights, and those of strangers need not tell.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabnet.errors import UserError

#: What has to be the same of all embeddings that are compared with each other.
_SHARED = {"recipe_hash": "crop recipe", "set": "labelled set"}


def require_set(meta: Mapping[str, Any], set_name: str, where: Path | str) -> None:
    """Raises UserError if the embeddings say that they are of another labelled set."""
    theirs = meta.get("set")
    if theirs not in (None, set_name):
        raise UserError(
            f"{where}: embeddings of the labelled set {theirs}, not of {set_name}; embed {set_name} with it"
        )


def require_weights(
    meta: Mapping[str, Any], weights_sha256: str, recipe_hash: str | None, where: Path | str, whose: Path | str
) -> None:
    """Refuse embeddings that were not made with some weights, and from crops as these learnt from.

    Args:
        weights_sha256, recipe_hash: of the model; a recipe that is None is not compared.
        where: the embeddings, for the error.
        whose: the model, likewise.

    Raises:
        UserError: says which of the two differs.
    """
    told = {"weights_sha256": "weights", "recipe_hash": "crop recipe"}
    wanted = {"weights_sha256": weights_sha256, "recipe_hash": recipe_hash}
    for key, what in told.items():
        theirs, ours = meta.get(key), wanted[key]
        if ours is None or theirs == ours:
            continue
        has = f"were made with {what} {str(theirs)[:16]}" if theirs else f"do not say what {what} they were made with"
        raise UserError(f"{where}: its embeddings {has}, but {whose} has {what} {ours[:16]}; embed the faces with it")


def require_comparable(metas: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to compare embeddings of different crop recipes, or of different sets.

    Args:
        metas: by what an error calls the embeddings.

    Raises:
        UserError: names two that differ.
    """
    for key, what in _SHARED.items():
        said = {name: str(meta[key]) for name, meta in metas.items() if meta.get(key)}
        first = next(iter(said), "")
        for name, value in said.items():
            if value != said[first]:
                raise UserError(f"{first} and {name} have different values of {what}: {said[first]} and {value}")
