"""Embeddings that were made elsewhere, in the forms that people have them, become embeddings as ours lie on disk.

An array of floating-point numbers, a row per face, beside a file that names its rows. It is mapped, never unpickled and
never held as a whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.probing.embeddings import write_embeddings
from fabnet.probing.outside_ids import read_ids, require_unique
from fabnet.probing.outside_table import read_table

#: Numbers that are held at a time.
_BLOCK = 1 << 22
_IDS = (".parquet", ".csv", ".txt")
#: What meta.json may say that others need to know.
_ORIGIN = ("encoder", "set", "weights_sha256", "recipe_hash")


@dataclass(frozen=True)
class Outside:
    """Embeddings of N faces.

    Attributes:
        path: of the array, which errors name.
        ids: of the rows, each once.
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
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is told
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
        problem = " ".join(str(error).split())[:200]
        if "pickle" in problem or "Python objects" in problem:
            problem = "not an array of numbers (a pickle, which is not read); write it by np.save(path, float32 array)"
        raise UserError(f"{path}: {problem if 'pickle' in problem else f'is damaged: {problem}'}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path}: is an archive (.npz); write one array by np.save")
    if array.dtype.kind != "f":
        raise UserError(f"{path}: holds {array.dtype}, not floating-point numbers; write it as float32")
    if array.ndim != 2 or not array.size:
        raise UserError(f"{path}: has shape {array.shape}; embeddings are (faces, numbers of each)")
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
        raise UserError(f"{path}: is damaged: {' '.join(str(error).split())[:200]}; embed the faces again") from None
    wrong = next((key for key, value in known.items() if not isinstance(value, str | None)), None)
    if wrong is not None:
        raise UserError(f"{path}: {wrong} is {known[wrong]!r}, not text")
    if dimension != array.shape[1]:
        raise UserError(f"{path}: tells of {dimension} numbers a face, but the array beside it has {array.shape[1]}")
    return {key: value for key, value in known.items() if value}
