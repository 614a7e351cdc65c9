"""What saved probes read from embeddings: arrays by task, or columns of a table."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, softmax

from fabnet.probing.saved import LinearHead, SavedHeads
from fabnet.tables import EXPRESSIONS


def by_task(
    heads: SavedHeads, embeddings: NDArray[np.float32], regions: NDArray[np.float64]
) -> dict[str, NDArray[np.float32]]:
    """The readings of N faces, an array for each task that has a probe.

    Args:
        heads: the probes.
        embeddings: (N, D).
        regions: (N, 4), left, top, right, bottom in pixels: which part of the frame each crop shows.

    Returns:
        `pose` (N, 3): roll, pitch and yaw in degrees. `landmarks68` and `landmarks5` (N, K, 2): x and y in pixels of
        the frame, the first pixel's centre at 0.5. `units` (N, U): action units, 0 to 1. `expression` (N, 8):
        probabilities, which sum to 1.
    """
    return {head.task: _reading(head, head(embeddings), regions) for head in heads.heads}


def fields(heads: SavedHeads) -> list[pa.Field]:
    """The columns that `columns` makes."""
    return [field for head in heads.heads for field in _fields(head)]


def columns(heads: SavedHeads, embeddings: NDArray[np.float32], regions: NDArray[np.float64]) -> list[pa.Array]:
    """The readings of N faces as arrays in the order of `fields`, in the units of `by_task`.

    Landmarks are lists of x and y in turn; `expression` is the name of the likeliest one.

    Args:
        heads: the probes.
        embeddings: (N, D).
        regions: (N, 4), as of `by_task`.
    """
    return [array for head in heads.heads for array in _columns(head, embeddings, regions)]


def _fields(head: LinearHead) -> list[pa.Field]:
    if head.task.startswith("landmarks"):
        return [pa.field(head.task, pa.list_(pa.float32(), len(head.names)))]
    if head.task == "expression":
        return [pa.field("expression", pa.string()), *(pa.field(f"expression_{n}", pa.float32()) for n in EXPRESSIONS)]
    return [pa.field(name, pa.float32()) for name in head.names]


def _columns(head: LinearHead, embeddings: NDArray[np.float32], regions: NDArray[np.float64]) -> list[pa.Array]:
    outputs = head(embeddings)
    values = _reading(head, outputs, regions)
    if head.task.startswith("landmarks"):
        return [pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(head.names))]
    if head.task == "expression":
        names = pa.array([head.names[best] for best in outputs.argmax(axis=1)], pa.string())
        return [names, *map(pa.array, values.T)]
    return [pa.array(column) for column in values.T]


def _reading(head: LinearHead, outputs: NDArray[np.float32], regions: NDArray[np.float64]) -> NDArray[np.float32]:
    if head.task.startswith("landmarks"):
        # Probes give points from -1 to 1 over the crop.
        points = (outputs.reshape(len(outputs), -1, 2) + 1) / 2
        corner, opposite = regions[:, None, :2], regions[:, None, 2:]
        return (corner + points * (opposite - corner)).astype(np.float32)
    if head.task == "expression":
        probabilities: NDArray[np.float32] = softmax(outputs, axis=1)
        return probabilities
    return expit(outputs) if head.loss == "bce" else outputs
