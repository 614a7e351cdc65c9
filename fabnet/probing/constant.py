"""The predictor that never looks at the face: what a score is worth is its distance from this one's."""

import numpy as np

from fabnet.probing.problem import Problem


def constant_prediction(problem: Problem, train: np.ndarray, count: int) -> np.ndarray:
    """Float32 (count, K), all rows alike: the mean of the training labels; for units and classes their frequency.

    Frequencies are given as log-odds of units and log-probabilities of classes, as all probes do, with half a face
    added to each outcome so that they are finite.
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
