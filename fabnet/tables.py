"""The legal form of every table that crosses a stage boundary, and the one home of their column names.

Tables are Parquet. `read` and `write` check them, so a stage never trusts, nor leaves behind, an illegal table.
"""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors
from pandera.typing import Series

from fabnet.errors import TableError
from fabnet.files import atomic_file

SPLITS = ("train", "validation", "test")

#: FACS action units, as EmotioNet is scored in the paper.
UNITS = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)
UNIT_COLUMNS = tuple(f"au{unit:02d}" for unit in UNITS)

#: The eight expressions of AffectNet, in its order.
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")

ANGLE_COLUMNS = ("roll_deg", "pitch_deg", "yaw_deg")

#: Why a clip, or a track of it, gave no crops.
REJECT_REASONS = (
    "unreadable",  # no container that can be opened
    "no_video_stream",
    "no_frames",  # a video stream of length zero
    "truncated",  # decoding broke off before the end; what came before is not used
    "no_boxes",  # the table of boxes has no row for this clip
    "box_outside",  # a box of the clip does not touch the frame
    "too_short",  # fewer frames than extract.min_frames
)


class Table(pa.DataFrameModel):
    """A contract. Columns beyond it are illegal, so that a misspelt one is noticed."""

    class Config:
        strict = True
        coerce = False

    @classmethod
    def empty_frame(cls) -> pd.DataFrame:
        """A legal table without rows, with the right dtypes."""
        columns = cls.to_schema().columns
        return pd.DataFrame({name: pd.Series([], dtype=str(column.dtype)) for name, column in columns.items()})


class Index(Table):
    """One row per face crop of a directory of track shards, ordered by (track_id, frame_no)."""

    track_id: Series[str] = pa.Field(str_matches=r"^[^\s]+$")
    identity: Series[str] = pa.Field(str_length={"min_value": 1})
    video: Series[str] = pa.Field(str_length={"min_value": 1})
    clip: Series[str] = pa.Field(str_length={"min_value": 1}, description="path below the videos' folder")
    frame_no: Series[np.int64] = pa.Field(ge=0, description="number of the sample in the clip, at extract.fps")
    time_s: Series[np.float64] = pa.Field(ge=0, description="presentation time in the clip")
    shard: Series[str] = pa.Field(str_matches=r"^tracks-[0-9]{5}\.tar$")
    offset: Series[np.int64] = pa.Field(ge=0, description="of the JPEG's first byte in the shard")
    size: Series[np.int64] = pa.Field(gt=0, description="bytes of the JPEG")
    left: Series[np.float64] = pa.Field(description="box of the crop, in pixels of the source frame")
    top: Series[np.float64]
    right: Series[np.float64]
    bottom: Series[np.float64]
    sharpness: Series[np.float64] = pa.Field(ge=0, description="variance of the Laplacian of the grey crop")
    brightness: Series[np.float64] = pa.Field(ge=0, le=255, description="mean grey level of the crop")

    class Config:
        unique = ["track_id", "frame_no"]

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return (frame["right"] > frame["left"]) & (frame["bottom"] > frame["top"])

    @pa.dataframe_check(name="one_identity_per_track")
    def _one_identity_per_track(cls, frame: pd.DataFrame) -> Any:
        return frame.groupby("track_id")["identity"].transform("nunique") == 1

    @pa.dataframe_check(name="frames_of_a_track_contiguous_and_increasing")
    def _tracks_are_runs(cls, frame: pd.DataFrame) -> Any:
        track = frame["track_id"]
        starts = track != track.shift()
        restarted = starts & track.duplicated()
        backwards = ~starts & (frame["frame_no"].diff() <= 0)
        return ~(restarted | backwards)


class Rejects(Table):
    """One row per clip, or track of a clip, that gave no crops."""

    clip: Series[str] = pa.Field(str_length={"min_value": 1})
    reason: Series[str] = pa.Field(isin=REJECT_REASONS)
    detail: Series[str]


class Splits(Table):
    """One row per identity."""

    identity: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True)
    split: Series[str] = pa.Field(isin=SPLITS)


class Boxes(Table):
    """Input of the `boxes` source: a face box at a time of a clip, in pixels of its frames."""

    clip: Series[str] = pa.Field(str_length={"min_value": 1})
    time_s: Series[np.float64] = pa.Field(ge=0)
    left: Series[np.float64]
    top: Series[np.float64]
    right: Series[np.float64]
    bottom: Series[np.float64]

    class Config:
        strict = False
        coerce = True

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return (frame["right"] > frame["left"]) & (frame["bottom"] > frame["top"])


def _is_points(count: int) -> Any:
    def check(value: Any) -> bool:
        array = np.asarray(value, dtype=np.float64)
        return array.shape == (2 * count,) and bool(np.isfinite(array).all())

    return check


class Labels(Table):
    """One row per labelled face. Label columns a set does not have are absent."""

    face_id: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True)
    identity: Series[str] = pa.Field(str_length={"min_value": 1})
    split: Series[str] = pa.Field(isin=SPLITS)
    image: Series[str] = pa.Field(str_length={"min_value": 1}, description="where the set's reader finds the image")
    left: Series[np.float64] = pa.Field(description="box of the crop, in pixels of the image")
    top: Series[np.float64]
    right: Series[np.float64]
    bottom: Series[np.float64]
    # x0, y0, x1, y1 ... in pixels of the image; 68 in iBUG order, 5 in MAFL order (the eyes, the nose's tip, the
    # corners of the mouth; left in the image first).
    landmarks68: Series[object] | None = pa.Field()
    landmarks5: Series[object] | None = pa.Field()
    roll_deg: Series[np.float64] | None = pa.Field(ge=-180, le=180)
    pitch_deg: Series[np.float64] | None = pa.Field(ge=-180, le=180)
    yaw_deg: Series[np.float64] | None = pa.Field(ge=-180, le=180)
    expression: Series[str] | None = pa.Field(isin=EXPRESSIONS)
    # Intensity of each action unit, 0 (absent) to 1 (maximal).
    au01: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au02: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au04: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au05: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au06: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au09: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au12: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au17: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au20: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au25: Series[np.float64] | None = pa.Field(ge=0, le=1)
    au26: Series[np.float64] | None = pa.Field(ge=0, le=1)

    @pa.check("landmarks68", element_wise=True, name="68_points")
    def _68_points(cls, value: Any) -> bool:
        return _is_points(68)(value)

    @pa.check("landmarks5", element_wise=True, name="5_points")
    def _5_points(cls, value: Any) -> bool:
        return _is_points(5)(value)

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return (frame["right"] > frame["left"]) & (frame["bottom"] > frame["top"])

    @pa.dataframe_check(name="one_split_per_identity")
    def _one_split_per_identity(cls, frame: pd.DataFrame) -> Any:
        return frame.groupby("identity")["split"].transform("nunique") == 1


class EmbeddingIds(Table):
    """Row i names row i of the array of embeddings beside it."""

    face_id: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True)


class Predictions(Table):
    """One row per test face, encoder, probe, task and seed."""

    encoder: Series[str] = pa.Field(str_length={"min_value": 1})
    probe: Series[str] = pa.Field(isin=("torch", "sklearn"))
    task: Series[str] = pa.Field(isin=("landmarks68", "landmarks5", "pose", "units", "expression"))
    seed: Series[np.int64] = pa.Field(ge=0)
    face_id: Series[str] = pa.Field(str_length={"min_value": 1})
    identity: Series[str] = pa.Field(str_length={"min_value": 1})
    # Equally long lists: points in pixels of the crop, angles in degrees, 0 / 1 per class or unit against a score.
    target: Series[object]
    prediction: Series[object]

    class Config:
        unique = ["encoder", "probe", "task", "seed", "face_id"]


class History(Table):
    """One row per logged point of a training run; `loss` is the mean over the samples since the point before."""

    step: Series[np.int64] = pa.Field(ge=1)
    samples: Series[np.int64] = pa.Field(ge=1)
    split: Series[str] = pa.Field(isin=("train", "validation"))
    loss: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    learning_rate: Series[np.float64] = pa.Field(ge=0)

    class Config:
        unique = ["step", "split"]


Contract = TypeVar("Contract", bound=type[Table])


def check(frame: pd.DataFrame, contract: type[Table], where: str) -> pd.DataFrame:
    """Return `frame` if it is legal under `contract`.

    Raises:
        TableError: names `where`, then each broken rule as (column, rule, count) with the first bad cases.
    """
    try:
        return contract.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
    except SchemaError as error:
        raise TableError(f"{where}: {' '.join(str(error).split())[:300]}") from None
    problems = []
    for (column, rule), group in cases.groupby(["column", "check"], dropna=False, sort=False):
        if rule == "column_in_dataframe":
            problems.append(f"column {group['failure_case'].iloc[0]} is missing")
            continue
        if rule == "column_in_schema":
            problems.append(f"column {group['failure_case'].iloc[0]} is unknown")
            continue
        rows = ", ".join(str(row) for row in group["index"].dropna().unique()[:5])
        values = ", ".join(repr(value)[:40] for value in group["failure_case"].head(3))
        at = f" (row {rows}: {values})" if rows else f" ({values})"
        problems.append(f"{column}: breaks {rule} {len(group)} time(s){at}")
    more = f"; and {len(problems) - 20} more rules" if len(problems) > 20 else ""
    raise TableError(f"{where}: {'; '.join(problems[:20])}{more}") from None


def read(path: Path | str, contract: type[Table]) -> pd.DataFrame:
    """Read a Parquet table (CSV where the name ends so) and check it."""
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: no such table")
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {' '.join(str(error).split())[:200]}") from None
    return check(frame, contract, str(path))


def write(frame: pd.DataFrame, path: Path | str, contract: type[Table]) -> None:
    """Check a table and write it as Parquet, whole or not at all."""
    check(frame, contract, str(path))
    with atomic_file(path) as temporary:
        frame.to_parquet(temporary, index=False)
