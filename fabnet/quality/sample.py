"""Frames that are decoded: which ones, what they show, and whether the index describes them correctly."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from numpy.typing import NDArray

from fabnet.files import read_json
from fabnet.frames.shards import RECIPE, member_name
from fabnet.quality.hashes import HASHED_SIDE, THUMBNAIL_SIDE, phash, thumbnail
from fabnet.quality.profile import Summary, pieces

_COLUMNS = ["frame_no", "shard", "offset", "size", "sharpness", "brightness"]

# Of a tar: bytes of a member's header, and of the name that it begins with.
_HEADER, _NAME = 512, 100


@dataclass(frozen=True)
class Sample:
    """Decoded frames, in the order of the index.

    Attributes:
        table: per frame: row (of the index), track_id, identity, split, frame_no, shard, offset, size; `named`, 1 or 0:
            whether the tar's header before it names this track and frame; `decodes`, 1 or 0; `side_off`, pixels that
            its sides differ from crop.json's size by; `brightness_off`, grey levels between its brightness and the
            index's; `sharpness_ratio`, (1 + its sharpness) / (1 + the index's); `digest`, a hash of its bytes. Of a
            frame that does not decode, the measures between are 0, 0 and 1.
        hashes: uint64 (N,), see `hashes.phash`.
        thumbnails: uint8 (N, 16, 16).
    """

    table: pd.DataFrame
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]


def choose(summary: Summary, count: int, seed: int) -> NDArray[np.int64]:
    """Rows of the index, increasing; see `of_tracks`.

    Args:
        summary: of the index.
        count: of the rows, about.
        seed: draws tracks where there are more than `count`.
    """
    return of_tracks(summary.tracks["first"].to_numpy(), summary.tracks["frames"].to_numpy(), count, seed)


def of_tracks(first: NDArray[np.int64], frames: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Rows of some tracks, increasing: all if there are at most `count`, else about `count`, spread over the tracks.

    As many frames of every track, evenly spaced, so that two copies of a clip give the same frames; where there are
    more tracks than `count`, the middle frame of `count` tracks drawn by `seed`.

    Args:
        first, frames: the first row of each track and the number of its rows, (T,) each, by increasing row.
        count: of the rows, about.
        seed: draws tracks where there are more than `count`.
    """
    if len(first) > count:
        chosen = np.sort(np.random.default_rng(seed).choice(len(first), count, replace=False))
        return first[chosen] + frames[chosen] // 2
    each = frames if frames.sum() <= count else np.minimum(frames, count // len(first))
    track = np.repeat(np.arange(len(first)), each)
    number = np.arange(len(track)) - np.repeat(np.cumsum(each) - each, each)
    return first[track] + (2 * number + 1) * frames[track] // (2 * each[track])


def look(frames: Path, summary: Summary, rows: NDArray[np.int64]) -> Sample:
    """Decode the frames `rows`, increasing, of a directory of shards, one at a time.

    Args:
        frames: a directory of track shards.
        summary: of its index.
        rows: of the index.
    """
    table = _places(frames, summary, rows)
    side = int(read_json(frames / RECIPE)["size"])
    hashed = np.zeros((len(table), HASHED_SIDE, HASHED_SIDE), dtype=np.uint8)
    thumbnails = np.zeros((len(table), THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8)
    measures = {"named": 0, "decodes": 0, "side_off": 0, "brightness_off": 0.0, "sharpness_ratio": 1.0}
    columns = {name: np.full(len(table), value) for name, value in measures.items()}
    digests = []
    shards: dict[str, np.memmap] = {}
    names = map(member_name, table["track_id"], table["frame_no"])
    places = (table[name].tolist() for name in ("shard", "offset", "size", "brightness", "sharpness"))
    for number, (name, shard, offset, size, brightness, sharpness) in enumerate(zip(names, *places, strict=True)):
        if shard not in shards:
            shards[shard] = np.memmap(frames / shard, np.uint8, "r")
        columns["named"][number] = bytes(shards[shard][max(offset - _HEADER, 0) :][:_NAME]) == _name_field(name)
        jpeg = bytes(shards[shard][offset : offset + size])
        digests.append(hashlib.blake2b(jpeg, digest_size=8).hexdigest())
        try:
            grey = np.ascontiguousarray(simplejpeg.decode_jpeg(jpeg, "GRAY")[:, :, 0])
        except ValueError:
            continue
        hashed[number], thumbnails[number] = thumbnail(grey, HASHED_SIDE), thumbnail(grey, THUMBNAIL_SIDE)
        columns["decodes"][number] = 1
        columns["side_off"][number] = max(abs(length - side) for length in grey.shape)
        columns["brightness_off"][number] = abs(float(grey.mean()) - brightness)
        columns["sharpness_ratio"][number] = (1 + cv2.Laplacian(grey, cv2.CV_64F).var()) / (1 + sharpness)
    table = table.drop(columns=["sharpness", "brightness"]).assign(**columns, digest=digests)
    return Sample(table, phash(hashed), thumbnails)


def _name_field(name: str) -> bytes:
    """The first bytes of a tar header; a longer name stands whole in a header of its own before."""
    return name.encode()[:_NAME].ljust(_NAME, b"\0")


def _places(frames: Path, summary: Summary, rows: NDArray[np.int64]) -> pd.DataFrame:
    """The index's columns about `rows`, with the track, identity and split of each."""
    found = []
    for begin, batch in pieces(frames, _COLUMNS):
        mine = rows[(rows >= begin) & (rows < begin + len(batch))]
        found.append(batch.take(mine - begin).to_pandas())
    track = np.searchsorted(summary.tracks["first"].to_numpy(), rows, side="right") - 1
    names = summary.tracks[["track_id", "identity", "split"]].iloc[track].reset_index(drop=True)
    table = pd.concat([names, pd.concat(found, ignore_index=True)], axis=1)
    table.insert(0, "row", rows)
    return table
