"""What saved probes read from embeddings, as columns of a table."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, softmax

from fabnet.errors import UserError
from fabnet.inference.model import Model
from fabnet.probing.saved import LinearHead, SavedHeads
from fabnet.tables import EXPRESSIONS


def check_heads(heads: SavedHeads, where: str, model: Model) -> None:
    """Refuse probes that learnt from other weights or crops: their numbers would mean nothing.

    Raises:
        UserError: names both.
    """
    theirs = heads.meta["weights_sha256"]
    if theirs != model.weights_sha256:
        raise UserError(
            f"{where}: its probes read embeddings of {heads.meta['encoder']} with weights {theirs[:12]}..., but "
            f"{model.directory} has weights {model.weights_sha256[:12]}...; take this model's probes, or probe again"
        )
    recipe, ours = heads.meta.get("recipe_hash"), model.recipe["hash"]
    if recipe not in (None, ours):
        raise UserError(
            f"{where}: its probes read embeddings of crops of recipe {recipe}, but {model.directory} learnt from "
            f"{ours}; take this model's probes, or probe again"
        )
    widths = {head.weight.shape[1] for head in heads.heads}
    if widths != {model.dimension}:
        raise UserError(
            f"{where}: its probes read {widths} numbers, but embeddings have {model.dimension}; probe again"
        )


def fields(heads: SavedHeads) -> list[pa.Field]:
    """The columns that `read` makes."""
    return [field for head in heads.heads for field in _fields(head)]


def read(heads: SavedHeads, embeddings: NDArray[np.float32], regions: NDArray[np.float64]) -> list[pa.Array]:
    """What the probes say of N faces, as arrays in the order of `fields`.

    Angles are in degrees. Landmarks are pixels of the input frame, x and y by turns, the first pixel's centre at 0.5.
    Units and expressions are numbers in [0, 1], those of expressions summing to 1.

    Args:
        embeddings: (N, D).
        regions: (N, 4), left, top, right, bottom: which part of the frame each crop shows.
    """
    return [array for head in heads.heads for array in _arrays(head, embeddings, regions)]


def _fields(head: LinearHead) -> list[pa.Field]:
    if head.task.startswith("landmarks"):
        return [pa.field(head.task, pa.list_(pa.float32(), len(head.names)))]
    if head.task == "expression":
        return [pa.field("expression", pa.string()), *(pa.field(f"expression_{n}", pa.float32()) for n in EXPRESSIONS)]
    return [pa.field(name, pa.float32()) for name in head.names]


def _arrays(head: LinearHead, embeddings: NDArray[np.float32], regions: NDArray[np.float64]) -> list[pa.Array]:
    outputs = head(embeddings)
    if head.task.startswith("landmarks"):
        points = (outputs.reshape(len(outputs), -1, 2) + 1) / 2
        corner, opposite = regions[:, None, :2], regions[:, None, 2:]
        pixels = (corner + points * (opposite - corner)).astype(np.float32)
        return [pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), len(head.names))]
    if head.task == "expression":
        names = pa.array([head.names[best] for best in outputs.argmax(axis=1)], pa.string())
        return [names, *map(pa.array, softmax(outputs, axis=1).T)]
    return [pa.array(column) for column in (expit(outputs) if head.loss == "bce" else outputs).T]
