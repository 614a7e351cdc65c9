"""A Parquet table of embeddings, a row per face, as `fabnet embed` writes it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fabnet.errors import UserError
from fabnet.probing.outside_ids import require_unique

_ROWS = 1 << 13


def read_table(path: Path, copy: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Ids, the array as it is mapped from `copy`, which is written, and where the embeddings come from.

    A face is named by the column face_id, or, in a table of `fabnet embed`, by its input where that has one face, and
    by input#track#frame otherwise.

    Raises:
        UserError: the file is absent, no Parquet, has not such columns, or rows of different lengths.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with pq.ParquetFile(path) as file:
            names = _names(file, path)
            require_unique(names, range(len(names)), path)
            array = _copied(file, path, copy)
            return names, array, _origin(file.schema_arrow.metadata or {})
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def _names(file: pq.ParquetFile, path: Path) -> list[str]:
    has = file.schema_arrow.names
    if "embedding" not in has or not ({"face_id"} <= set(has) or {"input", "track", "frame"} <= set(has)):
        raise UserError(f"{path}: has no columns embedding and face_id; it has {', '.join(has[:20])}")
    if "face_id" in has:
        ids = file.read(["face_id"])["face_id"]
        if ids.null_count:
            raise UserError(f"{path}, row {ids.is_null().to_pylist().index(True)}: the id is empty")
        names: list[str] = ids.cast(pa.string()).to_pylist()
        return names
    columns = file.read(["input", "track", "frame"]).to_pydict()
    faces = Counter(columns["input"])
    rows = zip(columns["input"], columns["track"], columns["frame"], strict=True)
    return [name if faces[name] == 1 else f"{name}#{track}#{frame}" for name, track, frame in rows]


def _copied(file: pq.ParquetFile, path: Path, copy: Path) -> np.ndarray:
    kind = file.schema_arrow.field("embedding").type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_floating(kind.value_type):
        raise UserError(f"{path}: embedding is {kind}, not a list of floating-point numbers")
    array: np.ndarray | None = None
    done, count = 0, file.metadata.num_rows
    for batch in file.iter_batches(_ROWS, columns=["embedding"]):
        column = batch.column(0)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        width = int(lengths[0]) if array is None else array.shape[1]
        wrong = np.flatnonzero((lengths != width) | (lengths == 0))
        if len(wrong):
            has = f"{lengths[wrong[0]]} numbers, not {width or 'some'}"
            raise UserError(f"{path}, row {done + wrong[0]}: an embedding of {has}")
        if array is None:
            dtype = kind.value_type.to_pandas_dtype()
            array = np.lib.format.open_memmap(copy, mode="w+", dtype=dtype, shape=(count, width))
        array[done : done + len(column)] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        done += len(column)
    if array is None:
        raise UserError(f"{path}: has no rows")
    return array


def _origin(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """What `fabnet embed` tells of all rows: the model's name and weights, the recipe of the crops."""
    try:
        said = {key.decode(): value.decode() for key, value in metadata.items() if not key.startswith(b"ARROW")}
        recipe = json.loads(said.get("recipe", "{}"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return {}
    known = {
        "encoder": said.get("model"),
        "weights_sha256": said.get("weights_sha256"),
        "recipe_hash": recipe.get("hash"),
    }
    return {key: value for key, value in known.items() if value}
