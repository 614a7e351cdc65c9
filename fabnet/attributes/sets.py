"""Labelled sets behind one small protocol: a table of labelled faces, their crops, and the tasks they answer."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd

from fabnet.attributes import affectnet, aflw, aflw2000, emotionet, mafl, own_table, w300
from fabnet.attributes.celebv import LabelledClips
from fabnet.attributes.folder import ImageFolder
from fabnet.attributes.synthetic import SyntheticFaces
from fabnet.attributes.tasks import TASKS, Task, targets, tasks_of
from fabnet.config import SetParams

__all__ = ["TASKS", "LabelledSet", "Task", "iterate_crops", "open_set", "targets", "tasks_of"]

#: What reads the annotation of each kind of set that is a folder of images.
_READERS = {
    "aflw2000": aflw2000.read,
    "mafl": mafl.read,
    "w300": w300.read,
    "aflw": aflw.read,
    "affectnet": affectnet.read,
    "emotionet": emotionet.read,
    "table": own_table.read,
}


class LabelledSet(Protocol):
    """A data set of labelled faces."""

    @property
    def name(self) -> str: ...

    @property
    def tasks(self) -> tuple[Task, ...]: ...

    @property
    def left_out(self) -> pd.DataFrame:
        """Faces that the set has and the table has not, one row per reason: reason, faces, first (which, and where)."""
        ...

    def table(self) -> pd.DataFrame:
        """One row per face, legal under tables.Labels."""
        ...

    def crop(self, row: Any, size: int) -> np.ndarray:
        """The face of one row: uint8 RGB (size, size, 3).

        Args:
            row: of `table().itertuples()`.
            size: side of the crop, in pixels.
        """
        ...

    def fingerprint(self) -> str:
        """Text that changes where a crop may have changed: another face, box, or file (by its size and time)."""
        ...


def open_set(name: str, params: SetParams) -> LabelledSet:
    """The labelled set that params.yaml describes under `sets.<name>`.

    Args:
        name: of the set.
        params: its section of params.yaml.

    Raises:
        UserError: the set's files are absent or damaged; names the file.
    """
    if params.kind == "synthetic":
        return SyntheticFaces(name, params)
    if params.kind == "celebv":
        return LabelledClips(name, params)
    return ImageFolder(name, params, _READERS[params.kind])


def iterate_crops(
    labelled: LabelledSet, size: int, batch: int, split: str | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Face ids and crops, uint8 (n <= batch, size, size, 3), in the order of the table, all rows or those of a split.

    One batch is held in memory at a time.

    Args:
        labelled: the set.
        size: side of a crop, in pixels.
        batch: crops per batch.
        split: train, validation or test; all rows where not given.
    """
    table = labelled.table()
    if split is not None:
        table = table[table["split"] == split]
    ids: list[str] = []
    crops = np.empty((batch, size, size, 3), dtype=np.uint8)
    for row in table.itertuples():
        crops[len(ids)] = labelled.crop(row, size)
        ids.append(str(row.face_id))
        if len(ids) == batch:
            yield ids, crops
            ids, crops = [], np.empty_like(crops)
    if ids:
        yield ids, crops[: len(ids)]
