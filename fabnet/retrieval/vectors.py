"""Vectors in a .npy file, mapped and read in order, in memory that does not grow with the file beyond a gibibyte."""

import math
import mmap
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fabnet.errors import UserError, one_line

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
    """Begin a .npy file, whose rows are then written one after the other."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
