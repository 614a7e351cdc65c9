"""Scores of queries become means with 95 % intervals over people.

A resample weighs every query by how often its identity was drawn; the caller gives the weights, (R, Q), the same for
all encoders, so that two of them can be compared on the same people. The gallery stays as it is. Queries without a
score (NaN) do not count.
"""

import numpy as np
from numpy.typing import NDArray

_COVERAGE = (2.5, 97.5)

Summary = dict[str, float | int]


def mean(values_Q: NDArray[np.floating], weights_RQ: NDArray[np.floating]) -> Summary | None:
    """{"value", "low", "high", "n"}, n being the queries with a score; None where no query has one."""
    return ratio(values_Q, np.where(np.isnan(values_Q), np.nan, 1.0), weights_RQ)


def difference(
    values_Q: NDArray[np.floating], others_Q: NDArray[np.floating], weights_RQ: NDArray[np.floating]
) -> Summary | None:
    """Mean of the differences of two scores of the same queries."""
    return mean(values_Q - others_Q, weights_RQ)


def ratio(
    values_Q: NDArray[np.floating], others_Q: NDArray[np.floating], weights_RQ: NDArray[np.floating]
) -> Summary | None:
    """The mean of one score over that of another, of the same queries; None where that is nothing."""
    there = ~np.isnan(values_Q) & ~np.isnan(others_Q)
    if not there.any() or not others_Q[there].any():
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (weights_RQ @ np.where(there, values_Q, 0)) / (weights_RQ @ np.where(there, others_Q, 0))
    value = float(values_Q[there].sum() / others_Q[there].sum())
    drawn = drawn[np.isfinite(drawn)]  # a resample may have none of the people with a score
    low, high = np.percentile(drawn, _COVERAGE) if len(drawn) else (value, value)
    # Where all resamples are alike, as those of a single person, rounding alone sets them off the value.
    return {"value": value, "low": min(float(low), value), "high": max(float(high), value), "n": int(there.sum())}
