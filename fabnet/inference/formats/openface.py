"""The CSV of OpenFace 2: columns, order, units and separators of its release 2.2.0.

Columns that nothing here fills are left out: gaze, pose_T, 3D landmarks, shape parameters, the intensities AU*_r, and
confidence where no detector gave a probability. docs/formats.md says what is converted. Sources: the program's recorder
of CSV files and its page on the output format (https://github.com/TadasBaltrusaitis/OpenFace/wiki/Output-Format).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fabnet.inference.formats.conventions import HAS_LANDMARKS, HAS_POSE, HAS_SCORE, HAS_UNITS, angles_of, points_of
from fabnet.tables import UNITS

#: Any of these makes a file worth writing.
NEEDS_ANY = (HAS_LANDMARKS, HAS_POSE, HAS_UNITS)

#: Release 2.2.0 writes a blank after each comma.
_SEPARATOR = ", "
#: Probes give a probability between classes that are weighted equally.
_PRESENT = 0.5


class OpenFaceCsv:
    """Writes tables of faces to an open file, a line for each face."""

    def __init__(self, file: TextIO, columns: pa.Schema) -> None:
        self._file = file
        self._file.write(_SEPARATOR.join(openface_names(columns)) + "\n")

    def add(self, rows: pa.Table) -> None:
        lines = pc.binary_join_element_wise(*_texts(rows), _SEPARATOR)
        self._file.write("\n".join(lines.to_pylist()) + "\n" if len(lines) else "")


def openface_names(columns: pa.Schema) -> list[str]:
    """The columns of the file, as far as the table has what they hold."""
    names = ["frame", "face_id", "timestamp"]
    if HAS_SCORE in columns.names:
        names.append("confidence")
    names.append("success")
    if HAS_POSE in columns.names:
        names += [f"pose_R{axis}" for axis in "xyz"]
    if HAS_LANDMARKS in columns.names:
        names += [f"{axis}_{point}" for axis in "xy" for point in range(68)]
    if HAS_UNITS in columns.names:
        names += [f"AU{unit:02d}_c" for unit in UNITS]
    return names


def _texts(rows: pa.Table) -> list[pa.Array]:
    """The columns of the file, as text."""
    texts = [
        pc.add(rows["frame"].combine_chunks(), 1).cast(pa.string()),  # OpenFace counts frames from 1
        rows["track"].combine_chunks().cast(pa.string()),
        _fixed(rows["time_s"].to_numpy(), 3),
    ]
    names = set(rows.column_names)
    if HAS_SCORE in names:
        texts.append(_fixed(rows[HAS_SCORE].to_numpy(), 2))
    texts.append(pa.array(["1"] * len(rows)))
    if HAS_POSE in names:
        texts += [_fixed(angle, 3) for angle in angles_of(rows).T]
    if HAS_LANDMARKS in names:
        texts += [_fixed(values, 1) for axis in np.moveaxis(points_of(rows), 2, 0) for values in axis.T]
    if HAS_UNITS in names:
        texts += [_fixed(rows[f"au{unit:02d}"].to_numpy() >= _PRESENT, 1) for unit in UNITS]
    return texts


def _fixed(values: NDArray[np.generic], decimals: int) -> pa.Array:
    """Numbers as text with so many decimals."""
    return pa.array(values.astype(np.float64)).cast(pa.decimal128(30, decimals)).cast(pa.string())


@contextmanager
def open_openface(path: Path, columns: pa.Schema) -> Iterator[OpenFaceCsv]:
    with open(path, "w", encoding="ascii", newline="") as file:
        yield OpenFaceCsv(file, columns)
