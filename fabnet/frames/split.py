"""Which identities are for training, validation and test: a function of the identities alone."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fabnet.errors import UserError, counted
from fabnet.frames.shards import INDEX


def split_identities(identities: Iterable[str], percent: Mapping[str, int], seed: int) -> dict[str, str]:
    """The split of each identity, by identity.

    A seeded permutation of the sorted identities is cut into consecutive pieces, so that neither the order nor
    repetitions of the input matter.

    Args:
        identities: names; repetitions do not count.
        percent: size of each split, summing to 100.
        seed: of the permutation.

    Raises:
        UserError: fewer identities than splits.
    """
    names = sorted(set(identities))
    if len(names) < len(percent):
        raise UserError(
            f"{counted(len(names), 'identity', 'identities')} cannot be split into {', '.join(percent)}: at "
            f"least {len(percent)} are needed; add folders of other people to extract.videos"
        )
    counts = apportion(len(names), percent)
    labels = np.repeat(list(counts), list(counts.values()))
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = dict(zip((names[i] for i in order), labels.tolist(), strict=True))
    return {name: chosen[name] for name in names}


def apportion(total: int, percent: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in proportion to `percent` that sum to `total`, by largest remainder, none of them zero.

    Equal remainders are served in the order of `percent`; a part that would be empty takes one from the largest.

    Args:
        total: number of things to divide.
        percent: share of each part; they sum to 100.
    """
    counts = {name: total * share // 100 for name, share in percent.items()}
    by_remainder = sorted(percent, key=lambda name: -(total * percent[name] % 100))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    for name in percent:
        if counts[name] == 0:
            counts[max(counts, key=counts.__getitem__)] -= 1
            counts[name] = 1
    return counts


def identities_of(directory: Path) -> list[str]:
    """Sorted identities of a directory of track shards."""
    path = directory / INDEX
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the stage `extract` first")
    found: set[str] = set()
    for batch in pq.ParquetFile(path).iter_batches(columns=["identity"]):
        found.update(batch["identity"].unique().to_pylist())
    return sorted(found)
