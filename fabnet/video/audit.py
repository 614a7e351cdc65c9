"""Do the tables about the crops agree with each other and with the shards? Each one's contract, then the joins."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.contract import open_parquet
from fabnet.errors import TableError
from fabnet.frames.shards import INDEX
from fabnet.video.part import LEDGER, REJECTS
from fabnet.video.shard_audit import audit_shards

_ROWS = 1 << 17
_FIRST_BYTES, _LAST_BYTES = (0xFF, 0xD8, 0xFF), (0xFF, 0xD9)


def audit_frames(frames: Path, splits: Path) -> dict[str, Any]:
    """Check frames/ and the splits of its identities, and count what they hold. Every byte of the shards is read.

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
    """The units of the extraction began at its first clip, and made what the other tables hold."""
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
    counts = ledger[["clips", "rejected_clips", "rejected_tracks", "boxes_clamped"]].sum()
    return {"units": len(ledger), **{str(column): int(count) for column, count in counts.items()}}


def _index_pieces(path: Path) -> Iterator[tuple[pd.DataFrame, int]]:
    """Checked pieces of an index, numbered as its rows, each preceded by the last row of the one before.

    The second value is 1 where a piece has such a row, else 0. With it, the contract of a piece and the order of the
    tracks within it make the contract of the whole.
    """
    before, row = None, 0
    for batch in open_parquet(path, tables.Index).iter_batches(batch_size=_ROWS):
        piece = batch.to_pandas()
        piece.index = pd.RangeIndex(row, row + len(piece))
        row += len(piece)
        rows = piece if before is None else pd.concat([before, piece])
        tables.check(rows, tables.Index, str(path))
        track = rows["track_id"]
        unordered = track < track.shift(fill_value="")
        if unordered.any():
            raise TableError(
                f"{path}: row {rows.index[unordered][0]}: track {track[unordered].iloc[0]} is out of order"
            )
        yield rows, len(rows) - len(piece)
        before = piece.iloc[-1:]
    if row == 0:
        raise TableError(f"{path}: holds no rows")


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
