"""Faces of a labelled set by their rows, read ahead of the network and kept as far as memory allows."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fabnet.attributes.sets import LabelledSet


class Crops:
    """Crops of a labelled set at `size` px.

    Args:
        cache_mb: memory for decoded crops. Those of the first rows stay in it; others are decoded every time.
    """

    def __init__(self, labelled: LabelledSet, size: int, cache_mb: int) -> None:
        self.size = size
        self._labelled = labelled
        self._faces = labelled.table()
        kept = min(len(self._faces), cache_mb * 2**20 // (3 * size * size))
        self._kept = np.empty((kept, size, size, 3), dtype=np.uint8)
        self._there = np.zeros(kept, dtype=bool)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The crops of `rows`, RGB (n, size, size, 3)."""
        crops = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)
        for crop, row in zip(crops, rows.tolist(), strict=True):
            if row < len(self._there) and self._there[row]:
                crop[:] = self._kept[row]
                continue
            crop[:] = self._labelled.crop(next(self._faces.iloc[row : row + 1].itertuples()), self.size)
            if row < len(self._there):
                self._kept[row], self._there[row] = crop, True
        return crops

    def batches(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Each part with its crops; a thread reads the one after it meanwhile. One, since readers may keep state."""
        with ThreadPoolExecutor(1, thread_name_prefix="crops") as reader:
            ahead = reader.submit(self.read, parts[0]) if parts else None
            for number, rows in enumerate(parts):
                assert ahead is not None
                crops = ahead.result()
                if number + 1 < len(parts):
                    ahead = reader.submit(self.read, parts[number + 1])
                yield rows, crops
