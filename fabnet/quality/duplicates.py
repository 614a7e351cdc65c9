"""Do two splits share pictures? By likeness of sampled frames; by names of tracks and the bytes of every frame."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import simplejpeg
from numpy.typing import NDArray

from fabnet.config import SampleParams
from fabnet.frames.store import FrameStore
from fabnet.quality.hashes import HASHED_SIDE, near_pairs, not_flat, phash, thumbnail
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

    Args:
        sample: decoded frames.
        splits: names, in their order; each two are compared.
        params: `health.sample`: how near hashes and thumbnails of equal pictures are.

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


def shared_tracks(
    store: FrameStore, split_of: Mapping[str, str], splits: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """For each two splits, the tracks of the second that share their name, or a frame's bytes, with one of the first.

    Every frame is read; 8 bytes of each stay in memory. Frames that show nothing, such as black ones, do not count:
    their bytes are those of any other.

    Args:
        store: the frames.
        split_of: of every identity.
        splits: names, in their order; each two are compared.

    Returns:
        the columns splits (such as "train, test") and `tracks` (their number), and the names of these tracks, sorted.
    """
    split = np.array([split_of[name] for name in store.tracks.identities], dtype=object)[store.tracks.identity]
    names = np.asarray(store.tracks.names.to_pylist(), dtype=object)
    digests = np.fromiter((_digest(store.read(row)) for row in range(store.frame_count)), np.uint64, store.frame_count)
    track = np.repeat(np.arange(len(store.tracks)), store.tracks.length)
    rows, found = [], {}
    for first, second in combinations(splits, 2):
        mine, theirs = split[track] == second, split[track] == first
        equal = np.flatnonzero(mine & np.isin(digests, digests[theirs]))
        shared = set(names[track[[row for row in equal if _shows_something(store.read(int(row)))]]])
        shared |= set(names[split == second]) & set(names[split == first])
        pair = f"{first}, {second}"
        found[pair] = sorted(shared)
        rows.append({"splits": pair, "tracks": len(shared)})
    return pd.DataFrame(rows), found


def _digest(jpeg: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(jpeg, digest_size=8).digest(), "little")


def _shows_something(jpeg: bytes) -> bool:
    try:
        grey: NDArray[np.uint8] = simplejpeg.decode_jpeg(jpeg, "GRAY")[:, :, 0]
    except ValueError:
        return True  # which is not for this rule to judge; equal bytes they are
    return bool(not_flat(phash(thumbnail(np.ascontiguousarray(grey), HASHED_SIDE)[None]))[0])
