"""The synthetic labelled faces: labels.parquet beside faces.tar, a plain tar of JPEGs."""

import os
import tarfile
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.attributes.folder import LeftOut, crops_fingerprint
from fabnet.attributes.images import crop_box, read_image
from fabnet.attributes.tasks import Task, tasks_of
from fabnet.config import SetParams
from fabnet.errors import UserError


class SyntheticFaces:
    """Reader of the folder that `synthesize` writes; the column `image` names a member of faces.tar."""

    def __init__(self, name: str, params: SetParams) -> None:
        self.name = name
        self.labels_path = params.path / "labels.parquet"
        self.faces_path = params.path / "faces.tar"
        for path in (self.labels_path, self.faces_path):
            if not path.is_file():
                raise UserError(f"{path}: no such file; run `dvc repro synthesize`, or correct sets.{name}.path")
        self._file: int | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tasks_of(self._table)

    def table(self) -> pd.DataFrame:
        return self._table

    @property
    def left_out(self) -> pd.DataFrame:
        return LeftOut().table()

    def crop(self, row: Any, size: int) -> np.ndarray:
        """The face of one row: uint8 RGB (size, size, 3).

        Args:
            row: of `table().itertuples()`.
            size: side of the crop, in pixels.

        Raises:
            UserError: the tar lacks its image, or it is damaged.
        """
        member = self._members.get(row.image)
        if member is None:
            raise UserError(f"{self.faces_path}: has no member {row.image}, which {self.labels_path} lists")
        if self._file is None:
            self._file = os.open(self.faces_path, os.O_RDONLY)
        offset, length = member
        data = os.pread(self._file, length, offset)
        return crop_box(read_image(data, f"{self.faces_path}: {row.image}", exif=False), row, size)

    def fingerprint(self) -> str:
        """See LabelledSet."""
        return crops_fingerprint(self._table, [self.labels_path, self.faces_path], exif=False)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]

    @cached_property
    def _table(self) -> pd.DataFrame:
        return tables.read(self.labels_path, tables.Labels)

    @cached_property
    def _members(self) -> dict[str, tuple[int, int]]:
        """Offset and length of every member, from the headers of the tar alone."""
        try:
            with tarfile.open(self.faces_path, "r:") as tar:
                return {member.name: (member.offset_data, member.size) for member in tar if member.isfile()}
        except tarfile.TarError as error:
            raise UserError(f"{self.faces_path}: not a plain tar: {error}; make it again") from None
