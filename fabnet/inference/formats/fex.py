"""The CSV of py-feat's `Fex`, as version 2 reads it (`feat.utils.io.read_feat`): its columns, order, names and units.

Columns that every Fex has are there, and empty where nothing is measured, as py-feat leaves them itself; identities,
gaze and the size of the frame, which are of other networks or not in the table, are left out. docs/formats.md says
what is converted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow.csv import CSVWriter

from fabnet.inference.formats.openface import (
    HAS_EXPRESSION,
    HAS_LANDMARKS,
    HAS_POSE,
    HAS_SCORE,
    HAS_UNITS,
    angles_of,
    points_of,
)
from fabnet.tables import UNITS

#: Any of these makes a file worth writing.
NEEDS_ANY = (HAS_LANDMARKS, HAS_POSE, HAS_UNITS, HAS_EXPRESSION)

#: py-feat's seven emotions by our names, in its order. The eighth class of the probe follows them.
_EMOTIONS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprise",
    "neutral": "neutral",
    "contempt": "contempt",
}
_TEXTS = ("input", "approx_time")
_NUMBERS = ("frame", "track")


class FexCsv:
    """Writes tables of faces to an open file."""

    def __init__(self, file: CSVWriter, schema: pa.Schema) -> None:
        self._file, self._schema = file, schema

    def add(self, rows: pa.Table) -> None:
        known = _values(rows)
        nothing = pa.nulls(len(rows), pa.float64())
        arrays = [known.get(column.name, nothing).cast(column.type) for column in self._schema]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def fex_schema(columns: pa.Schema) -> pa.Schema:
    """The columns of the file; action units as far as there are probes."""
    names = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
    names += [f"{axis}_{point}" for axis in "xy" for point in range(68)]
    names += ["Pitch", "Roll", "Yaw", "X", "Y", "Z"]
    if HAS_UNITS in columns.names:
        names += [f"AU{unit:02d}" for unit in UNITS]
    names += [*_EMOTIONS, "input", "frame", "approx_time", "track", "time_s"]
    types = dict.fromkeys(_TEXTS, pa.string()) | dict.fromkeys(_NUMBERS, pa.int64())
    return pa.schema([(name, types.get(name, pa.float64())) for name in names])


def _values(rows: pa.Table) -> dict[str, pa.Array]:
    """What the table knows, by the name of the column."""
    left, top, right, bottom = (rows[edge].to_numpy() for edge in ("left", "top", "right", "bottom"))
    rectangle = {"FaceRectX": left, "FaceRectY": top, "FaceRectWidth": right - left, "FaceRectHeight": bottom - top}
    known: dict[str, NDArray[np.number]] = {**rectangle, "frame": rows["frame"].to_numpy()}
    names = set(rows.column_names)
    if HAS_SCORE in names:
        known["FaceScore"] = rows[HAS_SCORE].to_numpy()
    if HAS_LANDMARKS in names:
        points = points_of(rows)
        known |= {f"{axis}_{point}": points[:, point, at] for at, axis in enumerate("xy") for point in range(68)}
    if HAS_POSE in names:
        x, y, z = angles_of(rows).T
        known |= {"Pitch": -x, "Roll": z, "Yaw": y}
    if HAS_UNITS in names:
        known |= {f"AU{unit:02d}": rows[f"au{unit:02d}"].to_numpy() for unit in UNITS}
    if HAS_EXPRESSION in names:
        known |= {theirs: rows[f"expression_{ours}"].to_numpy() for theirs, ours in _EMOTIONS.items()}
    texts = {"input": rows["input"].combine_chunks(), "approx_time": _clock(rows["time_s"].combine_chunks())}
    return {
        # Readings are float32, of which more decimals are none.
        **{name: pa.array(np.round(values.astype(np.float64), 6)) for name, values in known.items()},
        **texts,
        "track": rows["track"].combine_chunks(),
        "time_s": rows["time_s"].combine_chunks(),
    }


def _clock(times: pa.Array) -> pa.Array:
    """Minutes and seconds, as py-feat names the time of a frame."""
    whole = pc.cast(pc.floor(times), pa.int64()).to_pylist()
    return pa.array([f"{second // 60:02d}:{second % 60:02d}" for second in whole], pa.string())


@contextmanager
def open_fex(path: Path, columns: pa.Schema) -> Iterator[FexCsv]:
    """A writer of the CSV of py-feat.

    Args:
        path: of the file, which is overwritten.
        columns: of the tables that will come.
    """
    schema = fex_schema(columns)
    with CSVWriter(path, schema) as file:
        yield FexCsv(file, schema)
