"""An index of embeddings on disk: a folder that is whole or absent, and is never unpickled.

index.json      format, dimension, count, dtype, where the embeddings come from, size and SHA-256 of each file
vectors.npy     float32 or float16 (M, D), of length 1, mapped when it is read
ids.parquet     fabnet.tables.IndexRows, a row per vector
ann.faiss       the approximate part, if one was asked for (fabnet.retrieval.ann)
"""

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import DTypeLike, NDArray

from fabnet import tables
from fabnet.contract import open_parquet
from fabnet.errors import UserError, one_line
from fabnet.files import atomic_directory, hash_file, read_json, write_json
from fabnet.retrieval.exact import Gallery, unit

_DTYPES = ("float32", "float16")

#: Bytes of a file that may stay mapped: to map pages again costs half as much as to multiply them by a query.
_KEPT = 1 << 30


class MappedVectors:
    """Rows of a .npy file, float32 or float16 (M, D).

    Of a file of more than a gibibyte, pages that a reader has gone past are given back to the system, which keeps them
    as long as it has room: they count as its cache, and no longer as memory of this process. What was handed out stays
    readable.

    Raises:
        UserError: the file is cut short or of another form.
    """

    def __init__(self, path: Path) -> None:
        try:
            with open(path, "rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"version {version} of the format")
                shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
                self._offset = file.tell()
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is damaged: {one_line(error)}; build the index again") from None
        if columns_first or dtype.name not in _DTYPES or len(shape) != 2:
            raise UserError(f"{path}: holds {dtype} {shape}, not rows of float32 or float16; build the index again")
        needed = self._offset + math.prod(shape) * dtype.itemsize
        if len(self._map) < needed:
            raise UserError(f"{path}: has {len(self._map)} bytes of {needed}; it was cut short: build the index again")
        self.shape: tuple[int, int] = shape
        self.dtype = dtype
        self._rows = np.frombuffer(self._map, dtype, math.prod(shape), self._offset).reshape(shape)
        self._passed = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice, /) -> NDArray[np.floating]:
        self._give_back(rows.indices(len(self))[0])
        return self._rows[rows]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows, (n, D), in any order."""
        return self._rows[rows].astype(np.float32)

    def _give_back(self, row: int) -> None:
        """Give back the pages before `row`, or all where reading starts over."""
        stride = self.shape[1] * self.dtype.itemsize
        here = (self._offset + row * stride) // mmap.PAGESIZE * mmap.PAGESIZE
        begin, end = (self._passed, here) if here >= self._passed else (0, len(self._map))
        if end > begin and len(self._map) > _KEPT and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)
        self._passed = here


def write_header(file: object, dtype: DTypeLike, shape: tuple[int, int]) -> None:
    """Begin a .npy file, whose rows are then written one after the other.

    Args:
        file: binary, open for writing.
        dtype: of the numbers.
        shape: rows and columns.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]


#: Of the folder. Raise it when an older fabnet could not read what a newer one wrote.
FORMAT = 1
ABOUT, VECTORS, IDS, ANN = "index.json", "vectors.npy", "ids.parquet", "ann.faiss"

#: Numbers that are held at a time.
_NUMBERS = 1 << 22
_KEYS = ("dimension", "count", "dtype", "files", "origin", "source")


@dataclass(frozen=True)
class Index:
    """An index that was opened.

    Attributes:
        vectors: (M, D), of length 1.
        origin: encoder, set, weights_sha256 and recipe_hash, as far as they are known.
        about: the content of index.json.
    """

    directory: Path
    vectors: MappedVectors
    origin: dict[str, Any]
    about: dict[str, Any] = field(repr=False)

    @property
    def ann(self) -> Path | None:
        """The approximate part."""
        return self.directory / ANN if ANN in self.about["files"] else None

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of fabnet.tables.IndexRows, (M,), read from disk: of many rows, one is held at a time."""
        return pq.read_table(self.directory / IDS, columns=[name])[name]

    def take(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        """What is known of some rows, in their order: fabnet.tables.IndexRows, whose index is the rows' numbers."""
        names = tables.IndexRows.to_schema().columns
        taken = {name: self.column(name).take(pa.array(rows, pa.int64())).to_pandas() for name in names}
        return pd.DataFrame(taken).set_axis(pd.Index(rows), axis=0)


def write_index(
    directory: Path,
    array_MD: Gallery,
    rows: pd.DataFrame,
    origin: dict[str, Any],
    source: str,
    half: bool = False,
    build_ann: Callable[[MappedVectors, Path], dict[str, Any]] | None = None,
) -> Index:
    """Write an index of M embeddings, some at a time, atomically. It replaces an index, and nothing else.

    Args:
        directory: of the index.
        array_MD: floating point, of any length but zero.
        rows: fabnet.tables.IndexRows.
        origin: weights and crop recipe of the embeddings, by their hashes.
        source: where they come from, for people.
        half: keep float16: half the space, and cosines to about 0.001.
        build_ann: writes the approximate part to the path, and returns what is to be known of it.

    Raises:
        UserError: there are no embeddings, one is zero or not finite, or `directory` is something else.
    """
    count, dimension = array_MD.shape
    if count == 0:
        raise UserError(f"{source}: the gallery is empty: there are no embeddings to build an index of")
    if directory.exists() and not (directory / ABOUT).is_file():
        raise UserError(f"{directory}: exists and is no index; --out names a new folder, or an index to replace")
    dtype = np.dtype(np.float16 if half else np.float32)
    with atomic_directory(directory) as temporary:
        with open(temporary / VECTORS, "wb") as file:
            write_header(file, dtype, (count, dimension))
            step = max(1, _NUMBERS // dimension)
            for first in range(0, count, step):
                block = np.asarray(array_MD[first : first + step])
                file.write(np.ascontiguousarray(_checked(block, first, rows, source), dtype).tobytes())
        tables.write(rows, temporary / IDS, tables.IndexRows)
        about = {
            "format": FORMAT,
            "dimension": dimension,
            "count": count,
            "dtype": dtype.name,
            "origin": origin,
            "source": source,
        }
        if build_ann is not None:
            about["ann"] = build_ann(MappedVectors(temporary / VECTORS), temporary / ANN)
        about["files"] = {
            path.name: {"bytes": path.stat().st_size, "sha256": hash_file(path)} for path in sorted(temporary.iterdir())
        }
        write_json(temporary / ABOUT, about)
    return read_index(directory)


def _checked(block: NDArray[np.floating], first: int, rows: pd.DataFrame, source: str) -> NDArray[np.float32]:
    """The same of length 1, if they have a direction."""
    finite = np.isfinite(block).all(axis=1)
    # Some that fit float64 alone, too, have no finite length in float32.
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = unit(block)
    lost = ~finite | ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
    if lost.any():
        at = int(np.flatnonzero(lost)[0])
        what = "is zero, and has no direction" if finite[at] else "holds a number that is not finite (NaN or infinite)"
        raise UserError(
            f"{source}: row {first + at} ({rows['id'].iloc[first + at]}) {what}; leave such faces out, or embed again"
        )
    return vectors


def read_index(directory: Path, whole: bool = False) -> Index:
    """Open an index. That its files are of the right size is always checked, the table of ids by its hash.

    Args:
        directory: of the index.
        whole: read all files and compare their hashes.

    Raises:
        UserError: it is absent, cut short, changed or damaged, or of another format; names the file.
    """
    path = directory / ABOUT
    if not path.is_file():
        raise UserError(f"{path}: no such file; an index is a folder as `fabnet index build` writes it")
    try:
        about = read_json(path)
        form = about["format"]
        # Another format may have other keys: then that, not a missing key, is what is said.
        missing = [key for key in _KEYS if key not in about] if form == FORMAT else []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is damaged: {one_line(error)}; build the index again") from None
    if form != FORMAT:
        raise UserError(f"{path}: is an index of format {form}, this fabnet reads format {FORMAT}; build it again")
    if missing:
        raise UserError(f"{path}: is damaged: lacks {', '.join(missing)}; build the index again")
    # Vectors may be gigabytes, whose hash takes minutes: their size has to do, unless `whole` asks for more.
    for name, said in about["files"].items():
        _check_file(directory / name, said, whole or name == IDS)
    if not {VECTORS, IDS} <= about["files"].keys():
        raise UserError(f"{path}: does not name {VECTORS} and {IDS}; build the index again")
    vectors = MappedVectors(directory / VECTORS)
    # Its hash is that of a table that was written under the contract.
    ids = open_parquet(directory / IDS, tables.IndexRows)
    count = ids.metadata.num_rows
    ids.close()
    shape = (about["count"], about["dimension"])
    if vectors.shape != shape or vectors.dtype.name != about["dtype"] or count != shape[0]:
        raise UserError(
            f"{directory}: {ABOUT} says {about['dtype']} {shape}, but {VECTORS} holds {vectors.dtype} "
            f"{vectors.shape} and {IDS} {count} rows; build the index again"
        )
    return Index(directory, vectors, about["origin"], about)


def _check_file(path: Path, said: dict[str, Any], whole: bool) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file, but {ABOUT} names it; build the index again")
    if (size := path.stat().st_size) != said["bytes"]:
        short = "it was cut short" if size < said["bytes"] else "it was changed"
        raise UserError(f"{path}: has {size} bytes instead of {said['bytes']}; {short}: build the index again")
    if whole and hash_file(path) != said["sha256"]:
        raise UserError(f"{path}: is not the file that {ABOUT} describes (its SHA-256 differs); build the index again")
