"""What a probe learns: the labels of one task for all faces of a set, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fabnet.probing.metrics import absent_columns

REGRESSION = "mse"


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
        """Which outputs (K,) do not choose between models: units and classes that some training rows agree on.

        Their scores on the validation rows are noise. Where nothing else has an area there, none is left out.

        Args:
            trains: training rows, of every seed.
        """
        none = np.zeros(self.outputs, dtype=bool)
        if self.loss == REGRESSION:
            return none
        missing = np.any([absent_columns(self.reference(train)) for train in trains], axis=0)
        return missing if (~missing & ~absent_columns(self.reference(validation))).any() else none
