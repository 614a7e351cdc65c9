"""The legal form of every table that crosses a stage boundary, and the one home of their column names.

`fabnet.contract` says what a contract is; its functions belong to this module's users too: `tables.read` and
`tables.write` check what they read and write.
"""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from fabnet.contract import CASES, Finding, IllegalTable, Table, check, findings, read, version, write

__all__ = ["CASES", "Finding", "IllegalTable", "Table", "check", "findings", "read", "version", "write"]

# Spelt out: Arrow matches this forty times as fast as `\s`.
NO_SPACE = r"^[^ \t\n\v\f\r]"

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
    "too_large",  # frames of more pixels than a decoder should be trusted with
    "too_slow",  # took longer than extract.clip_limit_s
    "crashed",  # its process died twice while working on it alone
    "no_boxes",  # the annotation has no box for this clip
    "box_outside",  # a box of the clip does not touch the frame
    "no_face",  # the detector found none
    "lost",  # a track whose face was seen in a smaller share of its frames than extract.tracking.min_found
    "too_small",  # a track whose median box is smaller than extract.tracking.min_side
    "too_blurred",  # a track whose median sharpness is below extract.tracking.min_sharpness
    "too_short",  # fewer frames than extract.min_frames
)


def _has_area(box: pd.DataFrame) -> "pd.Series[bool]":
    width, height = box["right"] - box["left"], box["bottom"] - box["top"]
    return (width > 0) & (height > 0) & (width < np.inf) & (height < np.inf)


class Index(Table):
    """One row per face crop of a directory of track shards, ordered by (track_id, frame_no)."""

    track_id: Series[str] = pa.Field(str_matches=NO_SPACE + "+$")
    identity: Series[str] = pa.Field(str_length={"min_value": 1})
    video: Series[str] = pa.Field(str_length={"min_value": 1})
    clip: Series[str] = pa.Field(str_length={"min_value": 1}, description="path below the videos' folder")
    frame_no: Series[np.int64] = pa.Field(ge=0, description="number of the sample in the clip, at extract.fps")
    time_s: Series[np.float64] = pa.Field(ge=0, lt=float("inf"), description="presentation time in the clip")
    shard: Series[str] = pa.Field(str_matches=r"^tracks-[0-9]{5}\.tar$")
    offset: Series[np.int64] = pa.Field(ge=0, description="of the JPEG's first byte in the shard")
    size: Series[np.int64] = pa.Field(gt=0, description="bytes of the JPEG")
    left: Series[np.float64] = pa.Field(description="box of the crop, in pixels of the source frame")
    top: Series[np.float64]
    right: Series[np.float64]
    bottom: Series[np.float64]
    sharpness: Series[np.float64] = pa.Field(ge=0, lt=1e7, description="variance of the Laplacian of the grey crop")
    brightness: Series[np.float64] = pa.Field(ge=0, le=255, description="mean grey level of the crop")

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return _has_area(frame)

    @pa.dataframe_check(name="one_identity_per_track")
    def _one_identity_per_track(cls, frame: pd.DataFrame) -> Any:
        return frame.groupby("track_id")["identity"].transform("nunique") == 1

    # So (track_id, frame_no) is unique as well.
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
    track_id: Series[str] = pa.Field(str_matches=NO_SPACE + "*$", description="empty where it is the whole clip")
    reason: Series[str] = pa.Field(isin=REJECT_REASONS)
    detail: Series[str]

    class Config:
        metadata = {"version": 2}


class Ledger(Table):
    """One row per unit of work of an extraction, by its first clip: what became of a group of clips."""

    unit: Series[np.int64] = pa.Field(ge=0, unique=True, description="number of its first clip among all, by name")
    clips: Series[np.int64] = pa.Field(gt=0)
    tracks: Series[np.int64] = pa.Field(ge=0, description="kept")
    frames: Series[np.int64] = pa.Field(ge=0, description="kept")
    rejected_clips: Series[np.int64] = pa.Field(ge=0)
    rejected_tracks: Series[np.int64] = pa.Field(ge=0, description="of clips that were not rejected as a whole")
    boxes_clamped: Series[np.int64] = pa.Field(ge=0, description="annotated boxes that were cut back to their frame")
    bytes: Series[np.int64] = pa.Field(ge=0, description="of its JPEGs")
    sha256: Series[str] = pa.Field(str_matches=r"^[0-9a-f]{64}$", description="of the tar that it made")

    @pa.dataframe_check(name="units_in_order_without_gaps")
    def _units_follow_each_other(cls, frame: pd.DataFrame) -> Any:
        return frame["unit"] == frame["clips"].cumsum().shift(fill_value=0) + frame["unit"].iloc[:1].sum()

    @pa.dataframe_check(name="no_more_rejected_clips_than_clips")
    def _rejected_clips_are_clips(cls, frame: pd.DataFrame) -> Any:
        return frame["rejected_clips"] <= frame["clips"]


class Shards(Table):
    """One row per shard of a directory of frames: the bytes that were written, which nothing may have changed since."""

    shard: Series[str] = pa.Field(str_matches=r"^tracks-[0-9]{5}\.tar$", unique=True)
    frames: Series[np.int64] = pa.Field(ge=0, description="a shard may hold none")
    bytes: Series[np.int64] = pa.Field(gt=0, description="of the file")
    sha256: Series[str] = pa.Field(str_matches=r"^[0-9a-f]{64}$", description="of the file")


class Splits(Table):
    """One row per identity."""

    identity: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True)
    split: Series[str] = pa.Field(isin=SPLITS)


class Clips(Table):
    """Input of sources that are a folder of clips: which of them, and whom each one shows."""

    clip: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True, description="path below the videos' folder")
    identity: Series[str] = pa.Field(str_length={"min_value": 1})

    class Config:
        strict = False
        coerce = True


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
        return _has_area(frame)


def _is_points(value: Any, count: int) -> bool:
    array = np.asarray(value, dtype=np.float64)
    return array.shape == (2 * count,) and bool(np.isfinite(array).all())


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
        return _is_points(value, 68)

    @pa.check("landmarks5", element_wise=True, name="5_points")
    def _5_points(cls, value: Any) -> bool:
        return _is_points(value, 5)

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return _has_area(frame)

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


class Metrics(Table):
    """metrics.json, one row per score: {set: {variant: {metric: {value, low, high, n}}}}."""

    set: Series[str] = pa.Field(str_matches=r"^[a-z0-9][a-z0-9_]*$")
    variant: Series[str] = pa.Field(str_length={"min_value": 1})
    metric: Series[str] = pa.Field(str_matches=r"^[a-z0-9_]+$", description="its last word is its unit")
    value: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    low: Series[np.float64] = pa.Field(ge=0, description="95 % interval over identities")
    high: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    n: Series[np.int64] = pa.Field(gt=0, description="test faces")

    class Config:
        unique = ["set", "variant", "metric"]

    @pa.dataframe_check(name="value_within_its_interval")
    def _value_within_its_interval(cls, frame: pd.DataFrame) -> Any:
        return (frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])

    @pa.dataframe_check(name="areas_are_percentages")
    def _areas_are_percentages(cls, frame: pd.DataFrame) -> Any:
        return ~frame["metric"].str.endswith("_auc") | (frame["high"] <= 100)


class Curriculum(Table):
    """One row per logged point of a training run with a curriculum, over the samples since the point before.

    [low, high) are the percentiles of the loss that were learnt from, `threshold` the largest loss among them, mean
    over batches, `kept` their number and `loss` their mean loss.
    """

    step: Series[np.int64] = pa.Field(ge=1, unique=True)
    samples: Series[np.int64] = pa.Field(ge=1)
    window: Series[np.int64] = pa.Field(ge=0)
    low: Series[np.int64] = pa.Field(ge=0, lt=100)
    high: Series[np.int64] = pa.Field(gt=0, le=100)
    threshold: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    kept: Series[np.int64] = pa.Field(ge=1)
    loss: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
