"""Does a face track lie in two splits? By the names of tracks, and by the bytes of every frame."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import simplejpeg
from numpy.typing import NDArray

from fabnet.frames.store import FrameStore
from fabnet.quality.hashes import HASHED_SIDE, not_flat, phash, thumbnail


def shared_tracks(
    store: FrameStore, split_of: Mapping[str, str], splits: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """For each two splits, the tracks of the second that share their name, or a frame's bytes, with one of the first.

    Every frame is read; 8 bytes of each stay in memory. Frames that show nothing, such as black ones, do not count:
    their bytes are those of any other.

    Args:
        split_of: of every identity.

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
