"""Units and classes of which the faces of a split know one outcome only: always, or never, there.

Nothing can be learnt of those that training faces agree on, and nothing scored of those that test faces agree on. They
are left out of the mean over units or classes, for all encoders alike, and named.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fabnet.probing.metrics import AREAS, absent_columns
from fabnet.probing.problem import Problem
from fabnet.tables import EXPRESSIONS, UNIT_COLUMNS

_COLUMNS = {"units": UNIT_COLUMNS, "expression": EXPRESSIONS}


def unseen(problem: Problem, rows: np.ndarray) -> np.ndarray:
    """Which outputs (K,) the labels of these rows all agree on; none of tasks that are not scored by areas."""
    if problem.task not in AREAS:
        return np.zeros(problem.outputs, dtype=bool)
    return absent_columns(problem.reference(rows))


def absent_names(problems: Sequence[Problem], rows: np.ndarray) -> dict[str, list[str]]:
    """By task, the names of its units or classes that the labels of these rows agree on; tasks without any left out."""
    missing = {problem.task: np.flatnonzero(unseen(problem, rows)) for problem in problems}
    return {task: [_COLUMNS[task][column] for column in columns] for task, columns in missing.items() if len(columns)}


def absent_by_split(problems: Sequence[Problem], rows: Mapping[str, np.ndarray]) -> dict[str, dict[str, list[str]]]:
    """`absent_names` of every split that lacks some."""
    found = {split: absent_names(problems, of_split) for split, of_split in rows.items()}
    return {split: names for split, names in found.items() if names}


def without_unseen(problem: Problem, prediction: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Predictions (..., K) with NaN, which no score counts, where the training rows agree on an output."""
    missing = unseen(problem, train)
    return np.where(missing, np.nan, prediction).astype(np.float32) if missing.any() else prediction
