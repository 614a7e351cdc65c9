"""Do two splits share pictures? The sampled frames of each pair of splits, compared byte by byte and by likeness."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from fabnet.config import SampleParams
from fabnet.quality.hashes import near_pairs, not_flat
from fabnet.quality.sample import Sample

#: Closest pairs that are named and shown, of each pair of splits.
SHOWN = 8


@dataclass(frozen=True)
class LikePair:
    """Two frames that look alike; `first` and `second` are rows of the sample's table, `distance` in grey levels."""

    splits: str
    first: int
    second: int
    distance: float


def duplicates(sample: Sample, splits: Sequence[str], params: SampleParams) -> tuple[pd.DataFrame, list[LikePair]]:
    """A table with a row for each pair of splits, and the closest pairs of frames.

    Returns:
        the columns splits (such as "train, test"), `exact` (digests in both), `near` (pairs that look alike) and
        `near_pct` (of the split with fewer frames, those with a partner); and at most SHOWN pairs for each row.
    """
    # Frames that do not decode, and black ones, all look like each other; other measures report them.
    good = (sample.table["decodes"].to_numpy() == 1) & not_flat(sample.hashes)
    of_split = {name: np.flatnonzero(good & (sample.table["split"] == name).to_numpy()) for name in splits}
    digests = sample.table["digest"].to_numpy()
    rows, alike = [], []
    for a, b in combinations(splits, 2):
        both = of_split[a], of_split[b]
        name = f"{a}, {b}"
        pairs = near_pairs(
            (sample.hashes[both[0]], sample.hashes[both[1]]),
            (sample.thumbnails[both[0]], sample.thumbnails[both[1]]),
            params.near_bits,
            params.near_grey,
            SHOWN,
        )
        smaller = int(len(both[1]) < len(both[0]))
        share = 100 * pairs.members[smaller] / max(len(both[smaller]), 1)
        exact = len(np.intersect1d(digests[both[0]].astype(str), digests[both[1]].astype(str)))
        rows.append({"splits": name, "exact": exact, "near": pairs.count, "near_pct": share})
        alike += [
            LikePair(name, int(both[0][i]), int(both[1][j]), float(distance))
            for i, j, distance in zip(pairs.first, pairs.second, pairs.distance, strict=True)
        ]
    return pd.DataFrame(rows), alike
