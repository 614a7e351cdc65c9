"""How far predictions are from the truth. Pure functions of arrays; n faces, and any leading axes (probe seeds)."""

import numpy as np

from fabnet.attributes.tasks import TASKS
from fabnet.errors import UserError

#: metrics.json names of each task's scores; the last one selects models.
METRICS = {name: task.metrics for name, task in TASKS.items()}
#: One metric for each task, in the order of tables and figures.
MAIN = tuple(metrics[-1] for metrics in METRICS.values())
#: Tasks scored by the area under the ROC curve (AUC), where more is better; for the others, less is.
AUC_TASKS = tuple(name for name, task in TASKS.items() if not task.lower_is_better)

#: The two points that span the inter-ocular distance, by number of points: the outer corners of the eyes of 68 (iBUG
#: points 37 and 46, counted from 1, as 300-W does), the centres of the eyes of 5.
_OCULAR = {68: (36, 45), 5: (0, 1)}


def landmark_errors(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean distance of the points of each face, in percent of its true inter-ocular distance.

    Any unit of length will do, if it is the same along x and y. The distance is that seen in the image, so it shrinks
    as a head turns to profile and the errors of such faces weigh more.

    Args:
        prediction: (..., n, 2 P), x and y interleaved, with P 68 or 5.
        target: (n, 2 P).

    Returns:
        (..., n).

    Raises:
        UserError: the true eyes of a face coincide in the image.
    """
    points = target.shape[-1] // 2
    truth = target.astype(np.float64).reshape(len(target), points, 2)
    distance = np.linalg.norm(prediction.reshape(*prediction.shape[:-1], points, 2) - truth, axis=-1).mean(axis=-1)
    right, left = _OCULAR[points]
    ocular = np.linalg.norm(truth[:, right] - truth[:, left], axis=-1)
    if (ocular == 0).any():
        raise UserError(f"the labelled eyes of {(ocular == 0).sum()} faces coincide; correct or remove those labels")
    return 100 * distance / ocular


def angle_errors(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Absolute difference of angles in degrees, the shorter way round the circle: in [0, 180], shape as broadcast.

    Args:
        prediction, target: degrees, of shapes that broadcast.
    """
    return np.abs((prediction.astype(np.float64) - target + 180) % 360 - 180)


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each column, in percent; tied scores count half.

    Args:
        scores: (..., n, k), higher for present.
        truth: (n, k), 1 present, 0 absent.

    Returns:
        (..., k), NaN for a column whose truth is all present or all absent, or with a score that is NaN: its AUC
        is undefined.
    """
    order = np.argsort(scores, axis=-2)
    ordered = np.take_along_axis(scores, order, axis=-2)
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, _tied_ranks(ordered), axis=-2)
    positives = truth.sum(axis=0, dtype=np.float64)
    negatives = len(truth) - positives
    wins = (ranks * truth).sum(axis=-2) - positives * (positives + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isnan(scores).any(axis=-2), np.nan, 100 * wins / (positives * negatives))


def _tied_ranks(ordered: np.ndarray) -> np.ndarray:
    """Ranks from 1 along axis -2 of sorted values, each tie at the mean of its first and last place."""
    count = ordered.shape[-2]
    place = np.arange(1, count + 1)[:, None]
    differs = np.diff(ordered, axis=-2) != 0
    edge = np.ones((*ordered.shape[:-2], 1, ordered.shape[-1]), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=-2), place, 0), axis=-2)
    last = np.where(np.concatenate([differs, edge], axis=-2), place, count + 1)
    last = np.flip(np.minimum.accumulate(np.flip(last, axis=-2), axis=-2), axis=-2)
    return (first + last) / 2


def face_errors(task: str, prediction: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of each face (..., n) by metric name, for the tasks whose score is a mean over faces.

    Args:
        task: landmarks68, landmarks5, pose or mouth.
        prediction: (..., n, k), as the task's labels are.
        target: (n, k).
    """
    if task == "pose":
        angles = angle_errors(prediction, target)
        names = METRICS[task]
        return {**{name: angles[..., i] for i, name in enumerate(names[:3])}, names[3]: angles.mean(axis=-1)}
    if task == "mouth":
        return {METRICS[task][0]: 100 * np.abs(prediction.astype(np.float64) - target)[..., 0]}
    return {METRICS[task][0]: landmark_errors(prediction, target)}


def selection_score(task: str, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The score that chooses between models, to be minimised: (...,) for predictions (..., n, k).

    It is the task's last metric over all faces, negated where more is better; columns without an AUC are left out.

    Args:
        task: its name.
        prediction: of the validation faces.
        target: (n, k); units and classes as 0 and 1.
    """
    if task not in AUC_TASKS:
        return face_errors(task, prediction, target)[METRICS[task][-1]].mean(axis=-1)
    by_column = roc_auc(prediction, target)
    scored = ~np.isnan(by_column).reshape(-1, by_column.shape[-1]).any(axis=0)
    if not scored.any():
        raise UserError(
            f"{task}: all {len(target)} validation faces agree, so no ROC AUC can be computed; add validation faces"
        )
    return -by_column[..., scored].mean(axis=-1)


def absent_columns(target: np.ndarray) -> np.ndarray:
    """Which columns (k,) of a truth of 0 and 1 (n, k) are constant, so that their AUC is undefined."""
    positives = target.sum(axis=0)
    return (positives == 0) | (positives == len(target))
