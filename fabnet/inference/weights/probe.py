"""The authors' probe, nn.Sequential(BatchNorm1d(D), Linear(D, k, bias=False)), as saved probes of ours."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.attributes.tasks import TASKS
from fabnet.errors import UserError
from fabnet.probing.linear import Probe
from fabnet.probing.problem import Problem
from fabnet.probing.saved import write_heads

_EPSILON = 1e-5  # of torch.nn.BatchNorm1d
_VECTORS = ("0.weight", "0.bias", "0.running_mean", "0.running_var")
_MATRIX = "1.weight"
_COUNT = "0.num_batches_tracked"


def folded(tensors: Mapping[str, Tensor], where: str, task: str, dimension: int, radians: bool) -> Probe:
    """What batch norm and layer come to in evaluation mode: one linear map.

    Args:
        where: the file, for errors.
        task: which labels the outputs are; their number must be that of the task.
        dimension: D of the embeddings.
        radians: the outputs are radians, and the map's are degrees. For angles alone.

    Raises:
        UserError: a key is unknown or missing, or does not fit D or the task; names it.
    """
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    unknown = sorted(tensors.keys() - {*_VECTORS, _MATRIX, _COUNT})
    if unknown:
        raise UserError(
            f"{where}: {unknown[0]}: no probe has it: that is BatchNorm1d (0.*) and Linear without bias (1.weight)"
        )
    values = {name: _array(tensors, name, where) for name in (*_VECTORS, _MATRIX)}
    outputs = TASKS[task].outputs
    shapes = {**dict.fromkeys(_VECTORS, (dimension,)), _MATRIX: (outputs, dimension)}
    for name, shape in shapes.items():
        if values[name].shape != shape:
            raise UserError(
                f"{where}: {name}: is {_text(values[name].shape)}, but a probe of task {task}, which has {outputs} "
                f"outputs, on embeddings of {dimension} has {_text(shape)} there"
            )
    gamma, beta, mean, variance = (values[name] for name in _VECTORS)
    if (variance < 0).any():
        raise UserError(f"{where}: 0.running_var: has variances below zero; the file is damaged")
    slope = gamma / np.sqrt(variance + _EPSILON)
    scale = 180 / math.pi if radians else 1.0
    weight = values[_MATRIX] * slope * scale
    bias = values[_MATRIX] @ (beta - mean * slope) * scale
    once = np.zeros(1)
    return Probe(task, weight[None].astype(np.float32), bias[None].astype(np.float32), once, once)


def write_probes(path: Path, probes: list[Probe], meta: dict[str, Any]) -> None:
    """Save probes as the stage `probe` does."""
    problems = []
    for probe in probes:
        task = TASKS[probe.task]
        problems.append(Problem(task.name, task.loss, np.empty((0, task.outputs), np.float32), task.outputs))
    write_heads(path, probes, problems, meta)


def _array(tensors: Mapping[str, Tensor], name: str, where: str) -> NDArray[np.float64]:
    if name not in tensors:
        raise UserError(f"{where}: lacks {name}; a probe has {', '.join((*_VECTORS, _MATRIX))}")
    values: NDArray[np.float64] = tensors[name].to(torch.float64).numpy()
    if not np.isfinite(values).all():
        raise UserError(f"{where}: {name}: has numbers that are not finite; the file is damaged")
    return values


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
