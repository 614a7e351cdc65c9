"""Scores with 95 % bootstrap intervals by identity, and encoders compared on the same faces.

Faces of one person resemble each other, so whole identities are drawn with replacement: a resample weighs every face
by how often its identity was drawn. Resamples depend on the identities and the seed only, so that all encoders see
the same ones. A score is the mean over probe seeds; the interval speaks of other people, not of other seeds.

Two encoders that are scored on the same people err on the same people, so the interval of their difference is narrower
than their own intervals suggest: both are taken over the same resamples, and the difference of each resample counts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fabnet.errors import UserError
from fabnet.probing.metrics import AUC_TASKS, METRICS, absent_columns, face_errors, roc_auc
from fabnet.tables import EXPRESSIONS, UNIT_COLUMNS

_COVERAGE = (2.5, 97.5)
#: Elements of the largest temporary array: resamples are processed in blocks, so that memory does not grow with faces.
_BLOCK = 4_000_000
_COLUMNS = {"units": UNIT_COLUMNS, "expression": EXPRESSIONS}


def score(predictions: pd.DataFrame, resamples: int, seed: int) -> dict[str, dict[str, float | int]]:
    """Every metric of one encoder and probe: {name: {"value", "low", "high", "n"}}, n being the number of test faces.

    Errors are means over faces. AUCs are means over the units or classes that are both present and absent among the
    test faces, and among the training faces; `absent` names the others. Where a resample lacks one of the former, its
    mean is over those it has.

    Args:
        predictions: rows of tables.Predictions of a single encoder and probe.
        resamples: number of bootstrap resamples; 0 leaves the interval at the value.
        seed: of the resamples.
    """
    return scores_of(bootstrap(predictions, resamples, seed))


def scores_of(drawn: Mapping[str, tuple[float, np.ndarray, int]]) -> dict[str, dict[str, float | int]]:
    """The scores behind what `bootstrap` gives; without resamples, an interval is its value."""
    scores: dict[str, dict[str, float | int]] = {}
    for name, (value, values, count) in drawn.items():
        low, high = interval(values) if len(values) else (value, value)
        scores[name] = {"value": float(value), "low": float(low), "high": float(high), "n": count}
    return scores


def bootstrap(predictions: pd.DataFrame, resamples: int, seed: int) -> dict[str, tuple[float, np.ndarray, int]]:
    """Every metric's value, its values over the resamples (R,), and the number of test faces; see `score`.

    Two encoders with predictions of the same faces are scored on the same resamples.

    Args:
        predictions: rows of tables.Predictions of one encoder and probe.
        resamples: R.
        seed: of the resamples.
    """
    found: dict[str, tuple[float, np.ndarray, int]] = {}
    for task in (task for task in METRICS if (predictions["task"] == task).any()):
        found |= bootstrap_task(task, *arrays(predictions, task), resamples, seed)
    return found


def bootstrap_task(
    task: str, identities: np.ndarray, prediction: np.ndarray, target: np.ndarray, resamples: int, seed: int
) -> dict[str, tuple[float, np.ndarray, int]]:
    """`bootstrap` of one task, from arrays as `arrays` gives them.

    Args:
        task: its name.
        identities: (n,).
        prediction: (S, n, K).
        target: (n, K).
        resamples: R.
        seed: of the resamples.
    """
    weights = resample_weights(identities, resamples, seed)
    values, drawn = (
        _means(task, prediction, target, weights)
        if task not in AUC_TASKS
        else _auc(task, identities, prediction, target, weights)
    )
    return {name: (float(value), drawn[name], len(target)) for name, value in values.items()}


def absent(predictions: pd.DataFrame) -> dict[str, list[str]]:
    """By task, the action units and classes left out of its ROC AUC: constant within the test or the training faces."""
    found = {}
    for task in (task for task in AUC_TASKS if (predictions["task"] == task).any()):
        _, prediction, target = arrays(predictions, task)
        missing = _unscored(prediction, target)
        if missing.any():
            found[task] = [name for name, is_missing in zip(_COLUMNS[task], missing, strict=True) if is_missing]
    return found


def score_columns(
    predictions: pd.DataFrame, task: str, resamples: int, seed: int
) -> dict[str, dict[str, float | int] | None]:
    """`score` of every action unit or class by itself: its ROC AUC in percent; None for those that `absent` names.

    Args:
        predictions: rows of tables.Predictions of one encoder and probe.
        task: units or expression.
        resamples: of the intervals; 0 gives values alone.
        seed: of the resamples.
    """
    identities, prediction, target = arrays(predictions, task)
    weights = resample_weights(identities, resamples, seed)
    missing = _unscored(prediction, target)
    values = roc_auc(prediction, target).mean(axis=0)
    scores: dict[str, dict[str, float | int] | None] = dict.fromkeys(_COLUMNS[task])
    drawn = _drawn_auc(identities, prediction[..., ~missing], target[:, ~missing], weights)
    for column, row in zip(np.flatnonzero(~missing), drawn, strict=True):
        low, high = interval(row) if resamples else (values[column], values[column])
        found = {"value": float(values[column]), "low": float(low), "high": float(high), "n": len(target)}
        scores[_COLUMNS[task][column]] = found
    return scores


def arrays(predictions: pd.DataFrame, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identities (n,), predictions (S, n, K) and targets (n, K) of one task, faces in the order of their ids.

    Args:
        predictions: rows of tables.Predictions of one encoder and probe.
        task: its name; the table has rows of it.
    """
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
    """How often each face is drawn: (resamples, n), identities with replacement, as many as there are.

    Args:
        identities: (n,), of each face.
        resamples: how many.
        seed: of the draws.
    """
    names, code = np.unique(identities, return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts.astype(np.float32)[:, code]


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of a score over resamples (R,), leaving out those without a value (NaN)."""
    low, high = np.nanpercentile(drawn, _COVERAGE)
    return float(low), float(high)


def weighted_means(errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means (R,) of errors (n,) of weighted faces, weights (R, n).

    Args:
        errors: of each face.
        weights: how often each resample draws it.
    """
    return weights @ errors / weights.sum(axis=1, dtype=np.float64)


def weighted_auc(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
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
            auc = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
        result[begin : begin + block] = 100 * auc
    return result


def _means(
    task: str, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    errors = {name: error.mean(axis=0) for name, error in face_errors(task, prediction, target).items()}
    return (
        {name: float(error.mean()) for name, error in errors.items()},
        {name: weighted_means(error, weights) for name, error in errors.items()},
    )


def _auc(
    task: str, identities: np.ndarray, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    name = METRICS[task][-1]
    columns = np.flatnonzero(~_unscored(prediction, target))
    if not len(columns):
        return {}, {}
    prediction, target = prediction[..., columns], target[:, columns]
    drawn = _drawn_auc(identities, prediction, target, weights)
    return {name: roc_auc(prediction, target).mean()}, {name: _mean_of_present(drawn)}


def _unscored(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Which columns (k,) have no AUC: they are constant, or nothing was predicted (NaN) for want of training faces."""
    missing: np.ndarray = absent_columns(target) | np.isnan(prediction).any(axis=(0, 1))
    return missing


def _drawn_auc(identities: np.ndarray, prediction: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The AUC of every column (k, R), mean over seeds, of predictions (S, n, k) under weights (R, n) of identities."""
    _, first, code = np.unique(identities, return_index=True, return_inverse=True)
    if len(first) * len(identities) <= _BLOCK:
        counts = weights[:, first]
        return np.array(
            [auc_over_identities(prediction[..., c], target[:, c], code, counts) for c in range(target.shape[1])]
        )
    drawn = [[weighted_auc(seed[:, c], target[:, c], weights) for c in range(target.shape[1])] for seed in prediction]
    return np.mean(drawn, axis=0)


def _mean_of_present(by_column: np.ndarray) -> np.ndarray:
    """Mean over columns (k, R) that are not NaN; NaN where all are."""
    present = ~np.isnan(by_column)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(present, by_column, 0).sum(axis=0) / present.sum(axis=0)


def auc_over_identities(scores: np.ndarray, truth: np.ndarray, code: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve in percent, the mean over seeds, for every resample; tied scores count half.

    It equals the mean of `weighted_auc` with the weights counts[:, code], and takes memory for n x k
    numbers.

    Args:
        scores: (S, n), by seed.
        truth: (n,), 0 or 1.
        code: (n,), the identity of each face, in 0 ... k - 1; every one of them has a face.
        counts: (R, k), how often each identity was drawn.

    Returns:
        (R,), NaN where no identity drawn has a face of one of the two outcomes.
    """
    identities = counts.shape[1]
    counts = counts.astype(np.float64)
    present = truth > 0.5
    wins = np.zeros((identities, identities))
    for seed in scores:
        wins += _wins(seed, present, code, identities) / len(scores)
    pairs = (counts @ np.bincount(code[present], minlength=identities)) * (
        counts @ np.bincount(code[~present], minlength=identities)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        auc: np.ndarray = 100 * ((counts @ wins) * counts).sum(axis=1) / pairs
    return auc


def _wins(scores: np.ndarray, present: np.ndarray, code: np.ndarray, identities: int) -> np.ndarray:
    """How many absent faces of one identity (column) lie below the present faces of another (row), ties as halves."""
    order = np.argsort(scores, kind="stable")
    ordered, who = scores[order], code[order]
    # Row i: absent faces of each identity among the first i of the order.
    seen = np.zeros((len(scores) + 1, identities), dtype=np.float32)
    absent = np.flatnonzero(~present[order])
    seen[absent + 1, who[absent]] = 1
    np.cumsum(seen, axis=0, out=seen)
    of = np.flatnonzero(present[order])
    of = of[np.argsort(who[of], kind="stable")]
    first, last = (np.searchsorted(ordered, ordered[of], side=side) for side in ("left", "right"))
    below = (seen[first] + seen[last]) / 2
    names, starts = np.unique(who[of], return_index=True)
    wins = np.zeros((identities, identities))
    wins[names] = np.add.reduceat(below, starts, axis=0, dtype=np.float64)
    return wins


Difference = dict[str, float | int | bool]


@dataclass(frozen=True)
class BootstrapSamples:
    """An encoder's metrics over resamples, and the faces they were measured on.

    Attributes:
        metrics: value, values over the resamples (R,) and number of test faces, as `bootstrap` gives them.
        faces: by task, hash of the test faces, their identities and their labels.
    """

    metrics: Mapping[str, tuple[float, np.ndarray, int]]
    faces: Mapping[str, str]


def draw_samples(predictions: pd.DataFrame, resamples: int, seed: int) -> BootstrapSamples:
    """All metrics of one encoder and probe over resamples of the test identities.

    Args:
        predictions: rows of tables.Predictions of a single encoder and probe.
        resamples: how many.
        seed: of the resamples.
    """
    faces = {}
    for task, rows in predictions.groupby("task", sort=True):
        first = rows[rows["seed"] == rows["seed"].min()].sort_values("face_id")
        known = hashlib.sha256("\n".join([*first["face_id"], *first["identity"]]).encode())
        known.update(np.stack(first["target"].tolist()).astype(np.float32).round(2).tobytes())
        faces[str(task)] = known.hexdigest()
    return BootstrapSamples(bootstrap(predictions, resamples, seed), faces)


def paired(encoders: Mapping[str, BootstrapSamples], reference: str) -> dict[str, dict[str, Difference]]:
    """How far every other encoder's metrics lie above the reference's: {encoder: {metric: difference}}.

    Metrics that one of the two lacks are left out.

    A difference holds `difference` (the encoder's value minus the reference's), `low` and `high` (95 % of the
    resamples), `n` (test faces) and `apart`, whether the interval leaves out zero.

    Args:
        encoders: by name, all on the same resamples.
        reference: the name of one of them.

    Raises:
        UserError: an encoder was scored on other faces than the reference, or its labels were others.
    """
    chosen = encoders[reference]
    found: dict[str, dict[str, Difference]] = {}
    for name, other in encoders.items():
        if name == reference:
            continue
        both = sorted(other.faces.keys() & chosen.faces.keys())
        if wrong := [task for task in both if other.faces[task] != chosen.faces[task]]:
            raise UserError(
                f"{name} and {reference} were not scored on the same faces and labels for {', '.join(wrong)}, so they "
                "cannot be compared; make both predictions again"
            )
        found[name] = {
            metric: _difference(*values, *chosen.metrics[metric][:2])
            for metric, values in other.metrics.items()
            if metric in chosen.metrics
        }
    return found


def _difference(value: float, values: np.ndarray, count: int, reference: float, references: np.ndarray) -> Difference:
    low, high = interval(values - references)
    return {
        "difference": float(value - reference),
        "low": low,
        "high": high,
        "n": count,
        "apart": bool(low > 0 or high < 0),
    }
