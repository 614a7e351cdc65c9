"""What a labelled face can be asked for, and its labels as arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from fabnet.tables import ANGLE_COLUMNS, EXPRESSIONS, UNIT_COLUMNS

Loss = Literal["mse", "bce", "cross_entropy"]

#: A unit counts as present above this intensity: more than the trace that FACS codes A, the first fifth of its scale.
UNIT_PRESENT = 0.2


@dataclass(frozen=True)
class Task:
    """A question to a face: the label columns that answer it, and how an answer is trained and scored.

    `metrics` are names of metrics.json, the last being the one that selects models; `outputs` is the number of values a
    probe predicts per face.
    """

    name: str
    columns: tuple[str, ...]
    outputs: int
    loss: Loss
    metrics: tuple[str, ...]
    unit: str
    lower_is_better: bool


LANDMARKS68 = Task("landmarks68", ("landmarks68",), 136, "mse", ("landmarks68_nme_pct",), "% of inter-ocular", True)
LANDMARKS5 = Task("landmarks5", ("landmarks5",), 10, "mse", ("landmarks5_nme_pct",), "% of inter-ocular", True)
POSE = Task(
    "pose", ANGLE_COLUMNS, 3, "mse", ("roll_mae_deg", "pitch_mae_deg", "yaw_mae_deg", "pose_mae_deg"), "degrees", True
)
MOUTH = Task("mouth", ("mouth_open",), 1, "mse", ("mouth_mae_pct",), "% of the mouth's width", True)
UNITS = Task("units", UNIT_COLUMNS, len(UNIT_COLUMNS), "bce", ("units_auc",), "% area", False)
EXPRESSION = Task(
    "expression", ("expression",), len(EXPRESSIONS), "cross_entropy", ("expression_auc",), "% area", False
)

TASKS = {task.name: task for task in (LANDMARKS68, LANDMARKS5, POSE, MOUTH, UNITS, EXPRESSION)}


def tasks_of(table: pd.DataFrame) -> tuple[Task, ...]:
    """The tasks whose label columns are all in a table of labels."""
    return tuple(task for task in TASKS.values() if set(task.columns) <= set(table.columns))


def targets(table: pd.DataFrame, task: Task) -> np.ndarray:
    """The labels of all N rows of a table (tables.Labels) for one task.

    Args:
        table: of labels.
        task: whose label columns it has.

    Returns:
        landmarks: float32 (N, 2 P), x and y interleaved, in units of the crop box: -1 is its left or top edge, 1 its
            right or bottom edge, so a point outside the box lies beyond.
        pose: float32 (N, 3), degrees in the order roll, pitch, yaw.
        mouth: float32 (N, 1), gap between the inner lips over their width.
        units: float32 (N, 11), 1 where the intensity exceeds `UNIT_PRESENT`, else 0.
        expression: int64 (N,), the index in tables.EXPRESSIONS.
    """
    if task.name in ("landmarks68", "landmarks5"):
        points = np.array(table[task.columns[0]].tolist(), dtype=np.float64).reshape(len(table), -1, 2)
        corner = table[["left", "top"]].to_numpy()[:, None]
        side = (table[["right", "bottom"]].to_numpy())[:, None] - corner
        return ((points - corner) / side * 2 - 1).reshape(len(table), task.outputs).astype(np.float32)
    if task.name == "units":
        return (table[list(task.columns)].to_numpy() > UNIT_PRESENT).astype(np.float32)
    if task.name == "expression":
        index = {name: number for number, name in enumerate(EXPRESSIONS)}
        return np.array([index[name] for name in table["expression"]], dtype=np.int64)
    return np.array(table[list(task.columns)], dtype=np.float32)
