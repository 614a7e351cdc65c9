"""Encoders compared on the same faces.

Two encoders that are scored on the same people err on the same people, so the interval of their difference is narrower
than their own intervals suggest: both are taken over the same resamples, and the difference of each resample counts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fabnet.errors import UserError
from fabnet.probing.intervals import bootstrap, interval

Difference = dict[str, float | int | bool]


@dataclass(frozen=True)
class BootstrapSamples:
    """An encoder's metrics over resamples, and the faces they were measured on.

    Attributes:
        metrics: value, values over the resamples (R,) and number of test faces, as `intervals.bootstrap` gives them.
        faces: by task, hash of the test faces, their identities and their labels.
    """

    metrics: Mapping[str, tuple[float, np.ndarray, int]]
    faces: Mapping[str, str]


def draw_samples(predictions: pd.DataFrame, resamples: int, seed: int) -> BootstrapSamples:
    """All metrics of one encoder and probe over resamples of the test identities.

    Args:
        predictions: rows of tables.Predictions of a single encoder and probe.
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
