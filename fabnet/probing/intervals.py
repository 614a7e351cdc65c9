"""Scores with 95 % bootstrap intervals by identity.

Faces of one person resemble each other, so whole identities are drawn with replacement: a resample weighs every face
by how often its identity was drawn. Resamples depend on the identities and the seed only, so that all encoders see
the same ones. A score is the mean over probe seeds; the interval speaks of other people, not of other seeds.
"""

from typing import Any

import numpy as np
import pandas as pd

from fabnet.probing.metrics import AREAS, METRICS, absent_columns, areas, face_errors
from fabnet.tables import EXPRESSIONS, UNIT_COLUMNS

_COVERAGE = (2.5, 97.5)
#: Elements of the largest temporary array: resamples are processed in blocks, so that memory does not grow with faces.
_BLOCK = 4_000_000
_COLUMNS = {"units": UNIT_COLUMNS, "expression": EXPRESSIONS}


def score(predictions: pd.DataFrame, resamples: int, seed: int) -> dict[str, dict[str, float | int]]:
    """Every metric of one encoder and probe: {name: {"value", "low", "high", "n"}}, n being the number of test faces.

    Errors are means over faces. Areas are means over the units or classes that are both present and absent among the
    test faces; `absent` names the others. Where a resample lacks one of the former, its mean is over those it has.

    Args:
        predictions: rows of tables.Predictions of a single encoder and probe.
        resamples: number of bootstrap resamples; 0 leaves the interval at the value.
        seed: of the resamples.
    """
    scores: dict[str, dict[str, float | int]] = {}
    for name, (value, drawn, count) in bootstrap(predictions, resamples, seed).items():
        low, high = interval(drawn) if resamples else (value, value)
        scores[name] = {"value": float(value), "low": float(low), "high": float(high), "n": count}
    return scores


def bootstrap(predictions: pd.DataFrame, resamples: int, seed: int) -> dict[str, tuple[float, np.ndarray, int]]:
    """Every metric's value, its values over the resamples (R,), and the number of test faces; see `score`.

    Two encoders with predictions of the same faces are scored on the same resamples.
    """
    found: dict[str, tuple[float, np.ndarray, int]] = {}
    for task in (task for task in METRICS if (predictions["task"] == task).any()):
        identities, prediction, target = arrays(predictions, task)
        weights = resample_weights(identities, resamples, seed)
        values, drawn = (
            _means(task, prediction, target, weights)
            if task not in AREAS
            else _areas(task, prediction, target, weights)
        )
        found |= {name: (float(value), drawn[name], len(target)) for name, value in values.items()}
    return found


def absent(predictions: pd.DataFrame) -> dict[str, list[str]]:
    """By task, the units and classes left out of its area because all test faces agree on them."""
    found = {}
    for task in (task for task in AREAS if (predictions["task"] == task).any()):
        missing = absent_columns(arrays(predictions, task)[2])
        if missing.any():
            found[task] = [name for name, is_missing in zip(_COLUMNS[task], missing, strict=True) if is_missing]
    return found


def areas_by_column(predictions: pd.DataFrame, task: str) -> dict[str, float]:
    """The area of every unit or class in percent, mean over seeds; NaN where all test faces agree."""
    _, prediction, target = arrays(predictions, task)
    return dict(zip(_COLUMNS[task], areas(prediction, target).mean(axis=0).tolist(), strict=True))


def arrays(predictions: pd.DataFrame, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identities (n,), predictions (S, n, K) and targets (n, K) of one task, faces in the order of their ids."""
    rows = predictions[predictions["task"] == task].sort_values(["seed", "face_id"])
    if len(rows[["encoder", "probe"]].drop_duplicates()) != 1:
        raise ValueError("predictions must be of a single encoder and probe")
    seeds = rows["seed"].nunique()
    count, rest = divmod(len(rows), seeds)
    if rest or (rows["face_id"].to_numpy().reshape(seeds, count) != rows["face_id"].to_numpy()[:count]).any():
        raise ValueError(f"{task}: the seeds do not predict the same faces")
    prediction = np.stack(rows["prediction"].tolist()).reshape(seeds, count, -1)
    return rows["identity"].to_numpy()[:count], prediction, np.stack(rows["target"].tolist()[:count])


def resample_weights(identities: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each face is drawn: (resamples, n), identities with replacement, as many as there are."""
    names, code = np.unique(identities, return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts.astype(np.float32)[:, code]


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of a score over resamples (R,), leaving out those without a value (NaN)."""
    low, high = np.nanpercentile(drawn, _COVERAGE)
    return float(low), float(high)


def weighted_means(errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means (R,) of errors (n,) of weighted faces, weights (R, n)."""
    return weights @ errors / weights.sum(axis=1, dtype=np.float64)


def weighted_areas(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve in percent, of weighted faces; tied scores count half.

    Args:
        scores, truth: (n,), truth 0 or 1.
        weights: (R, n), not negative.

    Returns:
        (R,), NaN where no weight is on one of the two outcomes.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) != 0]))
    present = truth[order] > 0.5
    result = np.empty(len(weights))
    block = max(1, _BLOCK // len(scores))
    for begin in range(0, len(weights), block):
        ordered = weights[begin : begin + block][:, order].astype(np.float64)
        positives = np.add.reduceat(ordered * present, starts, axis=1)
        negatives = np.add.reduceat(ordered * ~present, starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            area = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
        result[begin : begin + block] = 100 * area
    return result


def _means(
    task: str, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    errors = {name: error.mean(axis=0) for name, error in face_errors(task, prediction, target).items()}
    return (
        {name: float(error.mean()) for name, error in errors.items()},
        {name: weighted_means(error, weights) for name, error in errors.items()},
    )


def _areas(
    task: str, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    name = METRICS[task][-1]
    columns = np.flatnonzero(~absent_columns(target))
    if not len(columns):
        return {}, {}
    values = areas(prediction[..., columns], target[:, columns])
    drawn = np.array([[weighted_areas(seed[:, c], target[:, c], weights) for c in columns] for seed in prediction])
    return {name: values.mean()}, {name: _mean_of_present(drawn.mean(axis=0))}


def _mean_of_present(by_column: np.ndarray) -> np.ndarray:
    """Mean over columns (k, R) that are not NaN; NaN where all are."""
    present = ~np.isnan(by_column)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(present, by_column, 0).sum(axis=0) / present.sum(axis=0)
