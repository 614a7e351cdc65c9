"""Probes on disk, one linear map per task, and what they read from embeddings of faces without labels."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, softmax

from fabnet.errors import UserError, one_line
from fabnet.files import atomic_file
from fabnet.probing.probe import Probe
from fabnet.probing.problem import Problem
from fabnet.tables import ANGLE_COLUMNS, EXPRESSIONS, UNIT_COLUMNS

#: Raise it when the layout of the file changes.
VERSION = 1

#: What the outputs of a task's probe are called, in their order. Points are x and y by turns.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "landmarks68": tuple(f"{axis}{point}" for point in range(68) for axis in "xy"),
    "landmarks5": tuple(f"{axis}{point}" for point in range(5) for axis in "xy"),
    "pose": ANGLE_COLUMNS,
    "mouth": ("mouth_open",),
    "units": UNIT_COLUMNS,
    "expression": EXPRESSIONS,
}


@dataclass(frozen=True)
class LinearHead:
    """One task: `embedding @ weight.T + bias`.

    Attributes:
        loss: mse, bce or cross_entropy, as of the Problem: outputs are labels, log-odds or logits of classes.
        names: of the K outputs.
        weight: float32 (K, D), the mean over the seeds.
        bias: float32 (K,), likewise.
    """

    task: str
    loss: str
    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (N, K) of embeddings (N, D)."""
        return embeddings @ self.weight.T + self.bias


@dataclass(frozen=True)
class SavedHeads:
    """The probes of one encoder on one labelled set.

    Attributes:
        heads: one for each task.
        meta: encoder, set, weights_sha256, recipe_hash and seeds, as given to `write_heads`.
    """

    heads: tuple[LinearHead, ...]
    meta: dict[str, Any]


def write_heads(path: Path | str, probes: Sequence[Probe], problems: Sequence[Problem], meta: dict[str, Any]) -> None:
    """Write the mean over the seeds of each task's probe to an .npz file, the same bytes for the same probes.

    Outputs are linear in weight and bias, so the mean of the seeds' maps predicts the mean of their predictions (for
    classes: up to what makes probabilities sum to 1).

    Args:
        path: of the .npz file.
        probes: as linear.fit gives them for `problems`.
        problems: the task of each probe.
        meta: `encoder`, `set`, `weights_sha256` and `recipe_hash` of the embeddings that the probes learnt from.
    """
    tasks = []
    arrays: dict[str, NDArray[Any]] = {}
    for probe, problem in zip(probes, problems, strict=True):
        names = OUTPUTS[problem.task]
        if probe.bias.shape[1] != len(names):
            raise ValueError(f"{problem.task}: {probe.bias.shape[1]} outputs instead of {len(names)}")
        tasks.append({"task": problem.task, "loss": problem.loss, "names": names})
        arrays[f"{problem.task}/weight"] = probe.weight.mean(axis=0)
        arrays[f"{problem.task}/bias"] = probe.bias.mean(axis=0)
    text = json.dumps({**meta, "version": VERSION, "seeds": len(probes[0].weight), "tasks": tasks}, sort_keys=True)
    # Not np.savez, whose zip is not the same in every version of Python.
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in {"meta": np.array(text), **arrays}.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())  # its time is 1980


def read_heads(path: Path | str) -> SavedHeads:
    """Read what `write_heads` wrote.

    Raises:
        UserError: the file is absent, or not such a file; names it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of probes; `dvc repro probe` writes probes/SET/heads/ENCODER.npz")
    if not zipfile.is_zipfile(path):  # NumPy would advise to unpickle it
        raise UserError(f"{path}: not a file of probes; `dvc repro probe` writes probes/SET/heads/ENCODER.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
            if meta["version"] != VERSION:
                raise UserError(f"{path}: has version {meta['version']}, this code reads {VERSION}; probe again")
            heads = [
                LinearHead(
                    task["task"],
                    task["loss"],
                    tuple(task["names"]),
                    file[f"{task['task']}/weight"],
                    file[f"{task['task']}/bias"],
                )
                for task in meta.pop("tasks")
            ]
    except (AttributeError, KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a file of probes: {one_line(error)}") from None
    for head in heads:
        _check(head, path)
    return SavedHeads(tuple(heads), meta)


def _check(head: LinearHead, path: Path) -> None:
    if head.names != OUTPUTS.get(head.task):
        raise UserError(f"{path}: task {head.task} with outputs {', '.join(head.names)} is unknown here; probe again")
    count = len(head.names)
    fits = head.weight.ndim == 2 and len(head.weight) == count and head.bias.shape == (count,)
    numbers = head.weight.dtype == head.bias.dtype == np.float32
    if not fits or not numbers or not (np.isfinite(head.weight).all() and np.isfinite(head.bias).all()):
        raise UserError(f"{path}: task {head.task}: its numbers are damaged; probe again")


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
        the frame, the first pixel's centre at 0.5. `mouth` (N, 1): gap between the inner lips over their width. `units`
        (N, U): action units, 0 to 1. `expression` (N, 8): probabilities, which sum to 1.
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
        regions: (N, 4), in pixels of the frame.
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
