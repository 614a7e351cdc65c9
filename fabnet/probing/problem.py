"""What a probe learns: the labels of one task of a set, which of them are constant, and the chance-level reference.

Nothing can be learnt of action units and classes that are constant within the training faces, and nothing scored of
those that are constant within the test faces. They are left out of the mean over units or classes, for all encoders
alike, and named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fabnet.probing.metrics import AUC_TASKS, absent_columns
from fabnet.tables import EXPRESSIONS, UNIT_COLUMNS

REGRESSION = "mse"

_COLUMNS = {"units": UNIT_COLUMNS, "expression": EXPRESSIONS}


@dataclass(frozen=True)
class Problem:
    """One task of a labelled set.

    Attributes:
        task: its name, as in tables.Predictions.
        loss: mse for points and angles, bce for units, cross_entropy for classes.
        labels: float32 (N, outputs); for cross_entropy int64 (N,), indices of classes.
        outputs: how many numbers a probe predicts per face.
    """

    task: str
    loss: Literal["mse", "bce", "cross_entropy"]
    labels: np.ndarray
    outputs: int

    def reference(self, rows: np.ndarray) -> np.ndarray:
        """What predictions of `rows` are scored against, float32 (n, outputs): the labels, classes as 0 / 1."""
        if self.loss == "cross_entropy":
            return np.eye(self.outputs, dtype=np.float32)[self.labels[rows]]
        return self.labels[rows]

    def unlearnable(self, trains: Sequence[np.ndarray], validation: np.ndarray) -> np.ndarray:
        """Which outputs (K,) do not choose between models: units and classes that some training rows are constant for.

        Their scores on the validation rows are noise. Where nothing else has an AUC there, none is left out.

        Args:
            trains: training rows, of every seed.
            validation: rows to choose on.
        """
        none = np.zeros(self.outputs, dtype=bool)
        if self.loss == REGRESSION:
            return none
        missing = np.any([absent_columns(self.reference(train)) for train in trains], axis=0)
        return missing if (~missing & ~absent_columns(self.reference(validation))).any() else none


def unseen(problem: Problem, rows: np.ndarray) -> np.ndarray:
    """Which outputs (K,) are constant within the labels of these rows; none of tasks that are not scored by AUC.

    Args:
        problem: one task.
        rows: of faces.
    """
    if problem.task not in AUC_TASKS:
        return np.zeros(problem.outputs, dtype=bool)
    return absent_columns(problem.reference(rows))


def absent_names(problems: Sequence[Problem], rows: np.ndarray) -> dict[str, list[str]]:
    """By task, the names of its units or classes that are constant within these rows; tasks without any left out.

    Args:
        problems: the tasks.
        rows: of faces.
    """
    missing = {problem.task: np.flatnonzero(unseen(problem, rows)) for problem in problems}
    return {task: [_COLUMNS[task][column] for column in columns] for task, columns in missing.items() if len(columns)}


def absent_by_split(problems: Sequence[Problem], rows: Mapping[str, np.ndarray]) -> dict[str, dict[str, list[str]]]:
    """`absent_names` of every split that lacks some.

    Args:
        problems: the tasks.
        rows: of the faces of each split.
    """
    found = {split: absent_names(problems, of_split) for split, of_split in rows.items()}
    return {split: names for split, names in found.items() if names}


def without_unseen(problem: Problem, prediction: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Predictions (..., K) with NaN, which no score counts, for outputs that are constant within the training rows.

    Args:
        problem: one task, of K outputs.
        prediction: of any faces.
        train: rows of the training faces.
    """
    missing = unseen(problem, train)
    return np.where(missing, np.nan, prediction).astype(np.float32) if missing.any() else prediction


def constant_prediction(problem: Problem, train: np.ndarray, count: int) -> np.ndarray:
    """The chance-level reference, which never looks at the face: the mean of the training labels.

    Float32 (count, K), all rows alike; for units and classes, their frequency.

    Frequencies are given as log-odds of units and log-probabilities of classes, as all probes do, with half a face
    added to each outcome so that they are finite.

    Args:
        problem: one task, of K outputs.
        train: rows of the training faces.
        count: of the rows of the result.
    """
    labels = problem.labels[train]
    if problem.loss == "cross_entropy":
        frequency = np.bincount(labels, minlength=problem.outputs) + 0.5
        value = np.log(frequency / frequency.sum())
    elif problem.loss == "bce":
        present = labels.sum(axis=0, dtype=np.float64)
        value = np.log(present + 0.5) - np.log(len(labels) - present + 0.5)
    else:
        value = labels.mean(axis=0, dtype=np.float64)
    return np.tile(value.astype(np.float32), (count, 1))
