"""A trained linear probe: the map from an embedding to the outputs of one task."""

from dataclasses import dataclass

import numpy as np

from fabnet.probing.embeddings import rows_of_features

#: Rows of embeddings held at a time when predicting.
_CHUNK = 4096


@dataclass(frozen=True)
class Probe:
    """One task's probes of S seeds: `weight[s] @ x + bias[s]`.

    Attributes:
        task: its name.
        weight: float32 (S, K, D).
        bias: float32 (S, K).
        selected: (S,), what was chosen on validation: the epoch, from 1, of the paper's probe, and the penalty, alpha
            or C, of the regularised one.
        validation: (S,), the score there (see metrics.selection_score).
    """

    task: str
    weight: np.ndarray
    bias: np.ndarray
    selected: np.ndarray
    validation: np.ndarray

    def predict(self, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Float32 (S, len(rows), K): labels of regressions, log-odds of units, log-probabilities of classes.

        Args:
            features: float32 (N, D), of all faces.
            rows: those to predict.
        """
        return answers(self.task, outputs(features, rows, self.weight, self.bias))


def outputs(features: np.ndarray, rows: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Float32 (S, n, K) of linear maps.

    Args:
        features: float32 (N, D), of all faces.
        rows: n of them.
        weight: float32 (S, K, D).
        bias: float32 (S, K).
    """
    seeds, count, dimension = weight.shape
    flat = weight.reshape(seeds * count, dimension).T
    chunks = [rows_of_features(features, rows[start : start + _CHUNK]) @ flat for start in range(0, len(rows), _CHUNK)]
    z: np.ndarray = np.concatenate(chunks).reshape(len(rows), seeds, count).swapaxes(0, 1) + bias[:, None]
    return z


def answers(task: str, z: np.ndarray) -> np.ndarray:
    """Outputs (..., K) as predictions: of classes the log-softmax, all others as they are.

    One-vs-rest AUCs compare a class's score between faces, which needs scores relative to the other classes'.

    Args:
        task: its name.
        z: outputs of a linear map.
    """
    return log_softmax(z) if task == "expression" else z


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
