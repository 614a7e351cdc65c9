"""Areas under the ROC curve over many resamples of identities at once.

An area is the share of pairs of a present and an absent face that are in the right order. Such pairs are counted once
for every two identities; a resample then only weighs those counts, by how often both were drawn. Where there are k
identities, that replaces a pass over all n faces for every resample and seed by one product with a matrix of k x k.
"""

import numpy as np


def areas_over_identities(scores: np.ndarray, truth: np.ndarray, code: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve in percent, the mean over seeds, for every resample; tied scores count half.

    It equals the mean of `intervals.weighted_areas` with the weights counts[:, code], and takes memory for n x k
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
        areas: np.ndarray = 100 * ((counts @ wins) * counts).sum(axis=1) / pairs
    return areas


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
