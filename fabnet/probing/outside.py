"""Embeddings that were made elsewhere, in common forms, are copied to the form that ours have on disk.

An array of floating-point numbers, a row per face, beside a file that names its rows; or a Parquet table. It is mapped,
never unpickled and never held as a whole.
"""

import csv
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fabnet.errors import UserError, one_line
from fabnet.files import read_json
from fabnet.probing.embeddings import write_embeddings

#: Numbers that are held at a time.
_BLOCK = 1 << 22
_IDS = (".parquet", ".csv", ".txt")
#: Columns that name a face, the first that is there; a table of one column needs none of these names.
_COLUMNS = ("face_id", "image")
#: Rows of a table that are held at a time.
_ROWS = 1 << 13
#: What meta.json may say that others need to know.
_ORIGIN = ("encoder", "set", "weights_sha256", "recipe_hash")


@dataclass(frozen=True)
class Outside:
    """Embeddings of N faces.

    Attributes:
        path: of the array, which errors name.
        ids: of the rows, each once, in Unicode's form NFC, as labels have them.
        array: floating point (N, D), mapped.
        origin: encoder, set, weights_sha256 and recipe_hash, as far as they are known.
    """

    path: Path
    ids: list[str]
    array: np.ndarray
    origin: dict[str, Any]


def open_outside(path: Path, scratch: Path, ids: Path | None = None) -> Outside:
    """Open embeddings without looking at their values.

    Args:
        path: an .npy file; a folder of embeddings.npy and ids.parquet, .csv or .txt, and perhaps meta.json, such as
            ours; or a Parquet table, a row per face, with a column `embedding`, such as that of `fabnet embed`.
        scratch: a folder for an array that lies in a table. It is needed as long as the array is.
        ids: what names the rows of an .npy file: Parquet or CSV with a column face_id, or text, a line each. Left out,
            it lies beside the array, with the same name or called ids.

    Raises:
        UserError: a file is absent, damaged, or not of such a form; names it, and the row.
    """
    if path.suffix.lower() == ".parquet":
        if ids is not None:
            raise UserError(f"{path}: names its rows itself; leave out {ids}")
        names, array, origin = read_table(path, scratch / f"{path.stem}.npy")
        return Outside(path, names, array, origin)
    at = path / "embeddings.npy" if path.is_dir() else path
    if not at.is_file():
        raise UserError(f"{at}: no such file; give an .npy file, a folder with embeddings.npy, or a Parquet table")
    array = _map(at)
    named = ids or _beside(at)
    names, places = read_ids(named)
    if len(names) != len(array):
        raise UserError(f"{at}: has {len(array)} rows, but {named} names {len(names)}")
    require_unique(names, places, named)
    return Outside(at, names, array, _origin(path / "meta.json", array) if path.is_dir() else {})


def write_outside(outside: Outside, directory: Path, face_ids: Sequence[str], meta: dict[str, Any]) -> None:
    """Write the embeddings of some faces, in their order, as embeddings.write_embeddings does.

    Args:
        outside: opened embeddings.
        directory: that is written.
        face_ids: whose embeddings, in this order; in Unicode's form NFC.
        meta: content of meta.json.

    Raises:
        UserError: a face has no embedding, or its embedding is not finite as float32; names the file and the row.
    """
    at = pd.Index(outside.ids).get_indexer(pd.Index(face_ids))
    missing = np.flatnonzero(at < 0)
    if len(missing):
        raise UserError(
            f"{outside.path}: {len(missing)} of {len(at)} labelled faces have no embedding (first: "
            f"{face_ids[missing[0]]}); ids are those of the column face_id, or of the images, of the labels"
        )
    write_embeddings(directory, face_ids, _batches(outside, at), outside.array.shape[1], len(at), meta)


def _batches(outside: Outside, at: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _BLOCK // outside.array.shape[1])
    for first in range(0, len(at), step):
        rows = at[first : first + step]
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is reported
            batch = outside.array[rows].astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(batch).all(axis=1))
        if len(bad):
            row = int(rows[bad[0]])
            wrong = outside.array[row][~np.isfinite(batch[bad[0]])][0]
            raise UserError(
                f"{outside.path}, row {row} (face {outside.ids[row]}): holds {wrong}, which is no finite float32"
            )
        yield batch


def _map(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        problem = one_line(error)
        if "pickle" in problem or "Python objects" in problem:
            problem = "not an array of numbers (a pickle, which is not read); write it by np.save(path, float32 array)"
        raise UserError(f"{path}: {problem if 'pickle' in problem else f'is damaged: {problem}'}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path}: is an archive (.npz); write one array by np.save")
    if array.dtype.kind != "f":
        raise UserError(f"{path}: holds {array.dtype}, not floating-point numbers; write it as float32")
    if array.ndim != 2 or not array.size:
        raise UserError(f"{path}: has shape {array.shape}; embeddings are (faces, dimensions)")
    return array


def _beside(path: Path) -> Path:
    stems = ["ids"] if path.name == "embeddings.npy" else [path.stem, "ids"]
    candidates = [path.with_name(stem + suffix) for stem in stems for suffix in _IDS]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise UserError(
            f"{path}: nothing names its rows; put {', '.join(each.name for each in candidates[:3])} beside it"
        )
    return found


def _origin(path: Path, array: np.ndarray) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        meta = read_json(path)
        known = {key: meta.get(key) for key in _ORIGIN}
        dimension = meta.get("dimension", array.shape[1])
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: is damaged: {one_line(error)}; embed the faces again") from None
    wrong = next((key for key, value in known.items() if not isinstance(value, str | None)), None)
    if wrong is not None:
        raise UserError(f"{path}: {wrong} is {known[wrong]!r}, not text")
    if dimension != array.shape[1]:
        raise UserError(f"{path}: says {dimension} dimensions, but the array beside it has {array.shape[1]}")
    return {key: value for key, value in known.items() if value}


def read_ids(path: Path) -> tuple[list[str], Sequence[int]]:
    """The ids in a file, and where each stands: lines from 1 of text, rows from 0 of Parquet.

    Raises:
        UserError: the file is absent or cannot be read, has no column of ids, or an empty one; names the row.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        names, places, what = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)}") from None
    for name, place in zip(names, places, strict=True):
        if not name:
            raise UserError(f"{path}, {what} {place}: the id is empty")
    return [_nfc(name) for name in names], places


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def require_unique(names: Sequence[str], places: Sequence[int], path: Path) -> None:
    """Raises UserError if an id comes twice, and says where.

    Args:
        names: ids.
        places: the row or line of each in its file.
        path: the file, for the error.
    """
    seen: dict[str, int] = {}
    for name, place in zip(names, places, strict=True):
        if name in seen:
            raise UserError(f"{path}, rows {seen[name]} and {place}: {name} comes twice; an id names one embedding")
        seen[name] = place


def _parquet(path: Path) -> tuple[list[str], Sequence[int], str]:
    column = _column(pq.read_schema(path).names, path)
    ids = pq.read_table(path, columns=[column])[column]
    names = ids.cast(pa.string()).fill_null("").to_pylist()
    return names, range(len(names)), "row"


def _text(path: Path) -> tuple[list[str], Sequence[int], str]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        if path.suffix.lower() != ".csv":
            lines = [line.strip() for line in file.read().splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            return lines, range(1, len(lines) + 1), "line"
        reader = csv.reader(file)
        header = [field.strip() for field in next(reader, [])]
        at = header.index(_column(header, path))
        names, places = [], []
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(f"line {reader.line_num} has {len(fields)} fields, not {len(header)}")
            names.append(fields[at].strip())
            places.append(reader.line_num)
    return names, places, "line"


def _column(names: Sequence[str], path: Path) -> str:
    found = next((name for name in _COLUMNS if name in names), names[0] if len(names) == 1 else None)
    if found is None:
        has = f"it has {', '.join(names[:20])}" if names else "it is empty"
        raise UserError(f"{path}: has no column {' or '.join(_COLUMNS)}; {has}")
    return found


def read_table(path: Path, copy: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Ids, the array as it is mapped from `copy`, which is written, and where the embeddings come from.

    A face is named by the column face_id, or, in a table of `fabnet embed`, by its input where that has one face, and
    by input#track#frame otherwise.

    Args:
        path: a Parquet file.
        copy: an .npy file.

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
            return names, array, _table_origin(file.schema_arrow.metadata or {})
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {one_line(error)}") from None


def _names(file: pq.ParquetFile, path: Path) -> list[str]:
    has = file.schema_arrow.names
    if "embedding" not in has or not ({"face_id"} <= set(has) or {"input", "track", "frame"} <= set(has)):
        raise UserError(f"{path}: has no columns embedding and face_id; it has {', '.join(has[:20])}")
    if "face_id" in has:
        ids = file.read(["face_id"])["face_id"]
        if ids.null_count:
            raise UserError(f"{path}, row {ids.is_null().to_pylist().index(True)}: the id is empty")
        return [_nfc(name) for name in ids.cast(pa.string()).to_pylist()]
    columns = file.read(["input", "track", "frame"]).to_pydict()
    faces = Counter(columns["input"])
    rows = zip(columns["input"], columns["track"], columns["frame"], strict=True)
    return [_nfc(name if faces[name] == 1 else f"{name}#{track}#{frame}") for name, track, frame in rows]


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


def _table_origin(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """What `fabnet embed` says of all rows: the model's name and weights, the recipe of the crops."""
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
