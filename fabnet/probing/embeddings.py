"""Embeddings on disk: embeddings.npy float32 (N, D), ids.parquet naming its rows, meta.json telling their origin."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.errors import UserError
from fabnet.files import atomic_directory, read_json, write_json


def write_embeddings(
    directory: Path | str,
    face_ids: Sequence[str],
    batches: Iterable[np.ndarray],
    dimension: int,
    count: int,
    meta: dict[str, Any],
) -> None:
    """Write batches (n_i, dimension) that together are (count, dimension), one at a time, whole or not at all.

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
    """Face ids, the memory-mapped array float32 (N, D), and meta.

    Raises:
        UserError: a file is absent, or the ids do not belong to the array.
    """
    directory = Path(directory)
    path = directory / "embeddings.npy"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` to make the embeddings")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise UserError(f"{path}: not an array: {error}; delete the folder and run `dvc repro`") from None
    ids = tables.read(directory / "ids.parquet", tables.EmbeddingIds)["face_id"].tolist()
    if array.ndim != 2 or len(array) != len(ids):
        raise UserError(f"{path}: has shape {array.shape}, but ids.parquet beside it names {len(ids)} faces")
    return ids, array, read_json(directory / "meta.json")


def rows_of(face_ids: Sequence[str], available: Sequence[str], where: Path | str) -> np.ndarray:
    """The row of each of `face_ids` among the `available` ids: int64 (N,).

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
