"""Embeddings on disk: embeddings.npy float32 (N, D), ids.parquet naming its rows, meta.json with their origin.

Embeddings of other weights, crops or sets must not be mixed, nor their probes. A key of meta.json that is absent or
null is unknown, and fits any value where embeddings are compared: hand-crafted features have no weights, and
embeddings made elsewhere need not name theirs.
"""

import mmap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.errors import UserError, one_line
from fabnet.files import atomic_directory, read_json, write_json

_ROWS = 1 << 14
#: Of a memory-mapped file of embeddings larger than this, in bytes, pages are given back once they are read.
_MAPPED = 64 << 20


def write_embeddings(
    directory: Path | str,
    face_ids: Sequence[str],
    batches: Iterable[np.ndarray],
    dimension: int,
    count: int,
    meta: dict[str, Any],
) -> None:
    """Write batches (n_i, dimension) that together are (count, dimension), one at a time, atomically.

    Args:
        directory: that is written: embeddings.npy, ids.parquet and meta.json.
        face_ids: a name for each row.
        batches: float32, in the order of the names.
        dimension: of an embedding.
        count: of all rows.
        meta: content of meta.json: encoder, set and origin.

    Raises:
        ValueError: `batches` hold another number of rows than `count`, or a value that is not finite.
    """
    if len(face_ids) != count:
        raise ValueError(f"{len(face_ids)} ids for {count} embeddings")
    with atomic_directory(directory) as temporary:
        array = np.lib.format.open_memmap(
            temporary / "embeddings.npy", mode="w+", dtype=np.float32, shape=(count, dimension)
        )
        done = 0
        for batch in batches:
            if not np.isfinite(batch).all():
                raise ValueError(f"{directory}: an embedding among rows {done} to {done + len(batch)} is not finite")
            if done + len(batch) > count:
                raise ValueError(f"{directory}: more than the {count} embeddings announced")
            array[done : done + len(batch)] = batch
            done += len(batch)
        if done != count:
            raise ValueError(f"{directory}: {done} embeddings instead of {count}")
        array.flush()
        tables.write(pd.DataFrame({"face_id": list(face_ids)}), temporary / "ids.parquet", tables.EmbeddingIds)
        write_json(temporary / "meta.json", {**meta, "dimension": dimension})


def read_embeddings(directory: Path | str) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Face ids, the memory-mapped array float32 (N, D), and meta. Every value is looked at, some rows at a time.

    Raises:
        UserError: a file is absent or cut short, the ids do not belong to the array, or a value is not finite; names
            the file, and the first such row with its face.
    """
    directory = Path(directory)
    path, origin = directory / "embeddings.npy", directory / "meta.json"
    for needed in (path, origin):
        if not needed.is_file():
            raise UserError(f"{needed}: no such file; run `dvc repro` to make the embeddings")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        meta = read_json(origin)
    except (ValueError, EOFError, OSError) as error:
        what = f"{directory}: embeddings.npy or meta.json is damaged: {one_line(error)}"
        raise UserError(f"{what}; delete the folder and run `dvc repro`") from None
    ids = tables.read(directory / "ids.parquet", tables.EmbeddingIds)["face_id"].tolist()
    if array.ndim != 2 or len(array) != len(ids):
        raise UserError(f"{path}: has shape {array.shape}, but ids.parquet beside it names {len(ids)} faces")
    if array.dtype != np.float32 or array.shape[1] != meta.get("dimension"):
        raise UserError(
            f"{path}: is {array.dtype} with {array.shape[1]} columns, but meta.json beside it says float32 with "
            f"{meta.get('dimension')}; delete the folder and run `dvc repro`"
        )
    _require_finite(array, ids, path)
    return ids, array, meta


def _require_finite(array: np.ndarray, ids: Sequence[str], path: Path) -> None:
    bad = [
        first + np.flatnonzero(~np.isfinite(array[first : first + _ROWS]).all(axis=1))
        for first in range(0, len(array), _ROWS)
    ]
    rows = np.concatenate(bad) if bad else np.zeros(0, dtype=np.int64)
    if len(rows):
        raise UserError(
            f"{path}: {len(rows)} of {len(array)} rows hold a value that is not finite (first: row {rows[0]}, face "
            f"{ids[rows[0]]}); delete the folder and run `dvc repro`"
        )


def encoders_of(directory: Path) -> dict[str, Path]:
    """The folders of embeddings/SET by encoder: those of `baseline`, then those of `embed`.

    Raises:
        UserError: there are none.
    """
    found = {path.parent.name: path.parent for path in sorted(directory.glob("*/*/meta.json"))}
    if not found:
        raise UserError(f"{directory}: holds no embeddings; run `dvc repro` to make them")
    return found


def rows_of(face_ids: Sequence[str], available: Sequence[str], where: Path | str) -> np.ndarray:
    """The row of each of `face_ids` among the `available` ids: int64 (N,).

    Args:
        face_ids: wanted, in the order of the result.
        available: names of the rows that there are.
        where: the embeddings, for the error.

    Raises:
        UserError: an id has no embedding; names `where` and the first one.
    """
    index = pd.Index(available).get_indexer(pd.Index(face_ids))
    missing = np.flatnonzero(index < 0)
    if len(missing):
        raise UserError(
            f"{where}: {len(missing)} labelled faces have no embedding (first: {face_ids[missing[0]]}); "
            "embed the set again"
        )
    return index.astype(np.int64)


def rows_of_features(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`features[rows]`. Pages of a large memory-mapped file are given back, so that memory does not grow to its size.

    They stay in the cache of the system while that has room.

    Args:
        features: float32 (N, D), in memory or mapped.
        rows: int64, of any shape.
    """
    taken = features[rows]
    if is_large(features):
        features._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
    return np.asarray(taken)


def is_large(features: np.ndarray) -> bool:
    """Whether features are a memory-mapped file too large to stay in memory."""
    mapped = isinstance(features, np.memmap) and features.mode == "r" and features._mmap is not None  # type: ignore[attr-defined]
    return mapped and features.nbytes > _MAPPED


#: What has to be the same of all embeddings that are compared with each other.
_SHARED = {"recipe_hash": "crop recipe", "set": "labelled set"}


def require_set(meta: Mapping[str, Any], set_name: str, where: Path | str) -> None:
    """Raises UserError if the embeddings say that they are of another labelled set.

    Args:
        meta: content of meta.json.
        set_name: the set that is wanted.
        where: the embeddings, for the error.
    """
    theirs = meta.get("set")
    if theirs not in (None, set_name):
        raise UserError(
            f"{where}: embeddings of the labelled set {theirs}, not of {set_name}; embed {set_name} with it"
        )


def require_weights(
    meta: Mapping[str, Any],
    weights_sha256: str,
    recipe_hash: str | None,
    where: Path | str,
    whose: Path | str,
    what: Literal["embeddings", "probes"] = "embeddings",
) -> None:
    """Refuse embeddings, or probes of embeddings, that were made with other weights or of other crops.

    Args:
        meta: of the embeddings, or that of saved probes.
        weights_sha256: of the model.
        recipe_hash: of the crops that the model was trained on; None is not compared.
        where: the embeddings or probes, for the error.
        whose: the model, likewise.
        what: whether `meta` is that of embeddings, which must name their crop recipe, or of probes, which may not.

    Raises:
        UserError: names the one of the two that differs, and what to do.
    """
    made = "its embeddings" if what == "embeddings" else "the embeddings of its probes"
    remedy = "embed the faces with it" if what == "embeddings" else "take this model's probes, or probe again"
    names = {"weights_sha256": "weights", "recipe_hash": "crop recipe"}
    wanted = {"weights_sha256": weights_sha256, "recipe_hash": recipe_hash}
    for key, name in names.items():
        theirs, ours = meta.get(key), wanted[key]
        if ours is None or theirs == ours or (theirs is None and what == "probes" and key == "recipe_hash"):
            continue
        has = f"were made with {name} {str(theirs)[:16]}" if theirs else f"do not say what {name} they were made with"
        raise UserError(f"{where}: {made} {has}, but {whose} has {name} {ours[:16]}; {remedy}")


def require_comparable(metas: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to compare embeddings of different crop recipes, or of different sets.

    Args:
        metas: by what an error calls the embeddings.

    Raises:
        UserError: names two that differ.
    """
    for key, what in _SHARED.items():
        said = {name: str(meta[key]) for name, meta in metas.items() if meta.get(key)}
        first = next(iter(said), "")
        for name, value in said.items():
            if value != said[first]:
                raise UserError(f"{first} and {name} have different values of {what}: {said[first]} and {value}")
