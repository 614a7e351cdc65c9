"""Do the tables about the crops agree with each other and with the shards? Each one's contract, then the joins."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.contract import open_parquet
from fabnet.errors import TableError
from fabnet.files import hash_file
from fabnet.frames.shards import INDEX, SHARDS
from fabnet.quality.streaming import pieces, unordered
from fabnet.video.unit import LEDGER, REJECTS

#: Sums of the ledger that a report tells.
TOLD = [
    *("clips", "rejected_clips", "rejected_tracks", "boxes_clamped"),
    *("samples_damaged", "files_ignored", "clips_crowded", "clips_swapped"),
]

_FIRST_BYTES, _LAST_BYTES = (0xFF, 0xD8, 0xFF), (0xFF, 0xD9)


def audit_frames(frames: Path, splits: Path) -> dict[str, Any]:
    """Check frames/ and the splits of its identities, and count what they hold. Every byte of the shards is read.

    Args:
        frames: a directory of track shards.
        splits: the table of the splits of its identities.

    Returns:
        {table: counts}, a function of the tables alone.

    Raises:
        TableError: the first broken contract or rule.
    """
    split_table = tables.read(splits, tables.Splits)
    split_of = dict(zip(split_table["identity"], split_table["split"], strict=True))
    rejects = tables.read(frames / REJECTS, tables.Rejects)
    index, frames_of_shard = _audit_index(frames, split_of, splits)
    return {
        "index": index,
        "shards": audit_shards(frames, frames_of_shard),
        "rejects": {"rows": len(rejects), "reasons": _counts(rejects["reason"])},
        "ledger": _audit_ledger(frames, index, rejects),
        "splits": {"rows": len(split_of), "identities": _counts(split_table["split"])},
    }


def _audit_index(frames: Path, split_of: Mapping[str, str], splits: Path) -> tuple[dict[str, Any], Counter[str]]:
    """What the index holds, and how many frames of each shard it names."""
    shards: dict[str, np.memmap] = {}
    track_counts, frame_counts, frames_of_shard = Counter[str](), Counter[str](), Counter[str]()
    identities, clips, size = set[str](), [], 0
    path = frames / INDEX
    for rows, first in _index_pieces(path):
        new = rows.iloc[first:]
        unknown = sorted(set(new["identity"]) - set(split_of))
        if unknown:
            raise TableError(f"{splits}: identity {unknown[0]} of {path} has no split; run the stage `split` again")
        identities.update(new["identity"])
        for shard, part in new.groupby("shard"):
            _check_jpegs(frames / str(shard), shards, part, path)
            frames_of_shard[str(shard)] += len(part)
        size += int(new["size"].sum())
        # `rows` repeats the last row of the piece before: a track that goes on there is not counted again.
        starts = (rows["track_id"] != rows["track_id"].shift()).iloc[first:]
        # A clip of several people is met again and again; a number of 8 bytes for each is enough to count them.
        clips.append(pd.util.hash_array(np.asarray(new["clip"].unique(), dtype=object)))
        split = new["identity"].map(split_of)
        frame_counts.update(split)
        track_counts.update(split[starts])
    unused = sorted(set(split_of) - identities)
    if unused:
        raise TableError(f"{splits}: identity {unused[0]} is not in {path}; run the stage `split` again")
    counts = {
        "rows": frame_counts.total(),
        "tracks": track_counts.total(),
        "clips": len(np.unique(np.concatenate(clips))),
        "identities": len(identities),
        "shards": len(shards),
        "bytes": size,
        "frames_by_split": dict(sorted(frame_counts.items())),
        "tracks_by_split": dict(sorted(track_counts.items())),
    }
    return counts, frames_of_shard


def _audit_ledger(frames: Path, index: Mapping[str, Any], rejects: pd.DataFrame) -> dict[str, int]:
    """The work units of the extraction start at its first clip, and made what the other tables hold."""
    path = frames / LEDGER
    ledger = tables.read(path, tables.Ledger)
    if ledger.empty:
        raise TableError(f"{path}: holds no units")
    if ledger["unit"].iloc[0] != 0:
        raise TableError(f"{path}: row 0: its first unit begins at clip {ledger['unit'].iloc[0]}, not at 0")
    whole = int((rejects["track_id"] == "").sum())
    for column, found, where in (
        ("frames", index["rows"], INDEX),
        ("tracks", index["tracks"], INDEX),
        ("bytes", index["bytes"], INDEX),
        ("rejected_clips", whole, REJECTS),
        ("rejected_tracks", len(rejects) - whole, REJECTS),
    ):
        if ledger[column].sum() != found:
            raise TableError(f"{path}: column {column}: sums to {ledger[column].sum()}, but {where} holds {found}")
    counts = ledger[TOLD].sum()
    return {"units": len(ledger), **{str(column): int(count) for column, count in counts.items()}}


def _index_pieces(path: Path) -> Iterator[tuple[pd.DataFrame, int]]:
    """Checked pieces of an index, see `streaming.pieces`.

    With the row that pieces share, the contract of each piece and the order of the tracks within it make the contract
    of the whole.
    """
    for rows, first in pieces(open_parquet(path, tables.Index)):
        if rows.empty:
            raise TableError(f"{path}: holds no rows")
        tables.check(rows, tables.Index, str(path))
        out_of_order = unordered(rows)
        if len(out_of_order):
            row = out_of_order[0]
            raise TableError(f"{path}: row {row}: track {rows['track_id'][row]} is out of order")
        yield rows, first


def _check_jpegs(path: Path, shards: dict[str, np.memmap], rows: pd.DataFrame, index: Path) -> None:
    """Every row's bytes lie within the shard, and begin and end as a JPEG does."""
    if path.name not in shards:
        if not path.is_file() or path.stat().st_size == 0:
            raise TableError(f"{index}: row {rows.index[0]}: its shard {path} does not exist, or is empty")
        shards[path.name] = np.memmap(path, np.uint8, "r")
    shard = shards[path.name]
    begin = rows["offset"].to_numpy()
    end = begin + rows["size"].to_numpy()
    inside = end <= len(shard)
    good = inside & (end - begin > len(_FIRST_BYTES) + len(_LAST_BYTES))
    for place, byte in enumerate(_FIRST_BYTES):
        good[good] = shard[begin[good] + place] == byte
    for place, byte in enumerate(_LAST_BYTES):
        good[good] = shard[end[good] - len(_LAST_BYTES) + place] == byte
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        raise TableError(f"{index}: row {rows.index[bad]}: no JPEG at bytes {begin[bad]} to {end[bad]} of {path}")


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in sorted(values.value_counts().items())}


_SHOWN = 5


def audit_shards(frames: Path, named: Mapping[str, int]) -> dict[str, int]:
    """Read every byte of the shards of `frames` and count them.

    Args:
        frames: a directory of track shards.
        named: frames that the index places in each shard.

    Raises:
        TableError: shards.parquet is illegal, or a shard is absent, holds another number of frames than the index
            places there, or other bytes than were written.
    """
    path = frames / SHARDS
    if not path.is_file():
        raise TableError(f"{path}: no such table: frames of an older fabnet; run the stage `extract` again")
    shards = tables.read(path, tables.Shards)
    files = [frames / name for name in shards["shard"]]

    def require(column: str, wrong: list[str]) -> None:
        if wrong:
            shown = ", ".join(wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
            raise TableError(
                f"{path}: column {column}: {len(wrong)} of {len(shards)} shards: {shown}; bring back what was "
                "extracted (`dvc checkout --force`), or run the stage `extract` again"
            )

    # From cheap to dear: names, numbers and sizes are compared before any shard is read.
    require("shard", [f"{name} is not there, but in {INDEX}" for name in sorted(set(named) - set(shards["shard"]))])
    require("shard", [f"{file.name} does not exist" for file in files if not file.is_file()])
    counts = [(name, told, named.get(name, 0)) for name, told in zip(shards["shard"], shards["frames"], strict=True)]
    require("frames", [f"{name} holds {told}, {INDEX} names {found}" for name, told, found in counts if told != found])
    sizes = [(file.name, told, file.stat().st_size) for file, told in zip(files, shards["bytes"], strict=True)]
    require("bytes", [f"{name} has {now}, not {told}" for name, told, now in sizes if now != told])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = list(pool.map(hash_file, files))
    changed = [file.name for file, told, now in zip(files, shards["sha256"], hashes, strict=True) if now != told]
    require("sha256", [f"{name} holds other bytes than were written" for name in changed])
    return {"rows": len(shards), "bytes": int(shards["bytes"].sum())}
