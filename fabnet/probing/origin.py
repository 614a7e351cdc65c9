"""The provenance of embeddings and probes: those of other weights, crops or sets must not be mixed.

`meta` is the content of meta.json beside embeddings. A key that is absent or null is unknown, and fits any value where
embeddings are compared: hand-crafted features have no weights, and embeddings made elsewhere need not name theirs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

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
    meta: Mapping[str, Any],
    weights_sha256: str,
    recipe_hash: str | None,
    where: Path | str,
    whose: Path | str,
    what: Literal["embeddings", "probes"] = "embeddings",
) -> None:
    """Refuse embeddings, or probes of embeddings, that were made with other weights or of other crops.

    Args:
        meta: of the embeddings, or that of saved probes.
        weights_sha256: of the model.
        recipe_hash: of the crops that the model was trained on; None is not compared.
        where: the embeddings or probes, for the error.
        whose: the model, likewise.
        what: whether `meta` is that of embeddings, which must name their crop recipe, or of probes, which may not.

    Raises:
        UserError: names the one of the two that differs, and what to do.
    """
    made = "its embeddings" if what == "embeddings" else "the embeddings of its probes"
    remedy = "embed the faces with it" if what == "embeddings" else "take this model's probes, or probe again"
    names = {"weights_sha256": "weights", "recipe_hash": "crop recipe"}
    wanted = {"weights_sha256": weights_sha256, "recipe_hash": recipe_hash}
    for key, name in names.items():
        theirs, ours = meta.get(key), wanted[key]
        if ours is None or theirs == ours or (theirs is None and what == "probes" and key == "recipe_hash"):
            continue
        has = f"were made with {name} {str(theirs)[:16]}" if theirs else f"do not say what {name} they were made with"
        raise UserError(f"{where}: {made} {has}, but {whose} has {name} {ours[:16]}; {remedy}")


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
