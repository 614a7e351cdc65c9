"""The CSV of OpenFace 2: columns, order, units and separators of its release 2.2.0; and its axes, which py-feat shares.

Columns that nothing here fills are left out: gaze, pose_T, 3D landmarks, shape parameters, the intensities AU*_r, and
confidence where no detector gave a probability. docs/formats.md says what is converted. Sources: the program's recorder
of CSV files and its page on the output format (https://github.com/TadasBaltrusaitis/OpenFace/wiki/Output-Format).

Its axes are x to the image's right, y down and z away from the camera. It gives the angles of R = Rx Ry Rz in radians,
where R turns a head that looks into the camera. Ours are those of roll after yaw after pitch in degrees, with x to the
right, y up and z towards the camera (fabnet/synthetic/state.py). The two frames differ by half a turn around x, which
leaves turns around x as they are and inverts those around y and z.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fabnet.inference.formats.table import matrix
from fabnet.tables import ANGLE_COLUMNS, UNITS

#: The column of a table of faces that holds the detector's probability, where there is one.
HAS_SCORE = "score"
#: Columns that hold the readings of a task.
HAS_POSE, HAS_LANDMARKS, HAS_UNITS, HAS_EXPRESSION = ANGLE_COLUMNS[0], "landmarks68", "au01", "expression"


def openface_angles(angles_N3: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotations around x, y and z as OpenFace gives them: a raised face, one turned to the image's right and a
    counter-clockwise tilt are negative.

    Args:
        angles_N3: roll, pitch and yaw in degrees: clockwise, up and to the image's right positive.

    Returns:
        pose_Rx, pose_Ry and pose_Rz in radians, (N, 3).
    """
    roll, pitch, yaw = np.asarray(angles_N3, np.float64).T
    turned = Rotation.from_euler("ZYX", np.stack([roll, -yaw, -pitch], axis=1), degrees=True)
    angles: NDArray[np.float64] = turned.as_euler("XYZ")
    return angles


def angles_of(rows: pa.Table) -> NDArray[np.float64]:
    """`openface_angles` of the poses of N faces, (N, 3)."""
    return openface_angles(np.stack([rows[name].to_numpy() for name in ANGLE_COLUMNS], axis=1))


def points_of(rows: pa.Table) -> NDArray[np.float64]:
    """The 68 landmarks of N faces, x and y in pixels of the frame, (N, 68, 2).

    The centre of the first pixel is (0, 0), as in OpenCV; in our tables it is (0.5, 0.5).
    """
    points: NDArray[np.float64] = matrix(rows, HAS_LANDMARKS).astype(np.float64).reshape(len(rows), 68, 2) - 0.5
    return points


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
    """A writer of the CSV of OpenFace 2.

    Args:
        path: of the file, which is overwritten.
        columns: of the tables that will come.
    """
    with open(path, "w", encoding="ascii", newline="") as file:
        yield OpenFaceCsv(file, columns)
