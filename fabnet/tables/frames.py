"""Contracts of frames and of what extraction says about them, and of lists that users write for it."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from fabnet.contract import Table

# Spelt out: Arrow matches this forty times as fast as `\s`.
NO_SPACE = r"^[^ \t\n\v\f\r]"

SPLITS = ("train", "validation", "test")

#: Why a clip, or a track of it, gave no crops.
REJECT_REASONS = (
    "unreadable",  # no container that can be opened
    "no_video_stream",
    "no_frames",  # a video stream of length zero
    "truncated",  # decoding broke off before the end; what came before is not used
    "damaged",  # a larger share of its time than extract.max_damaged, or its frames' times are not to be trusted
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


#: Columns of an index that FaceMesh fills.
READINGS = ("roll_deg", "pitch_deg", "yaw_deg", "mouth_open", "eyes_open")


def has_area(box: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of left, top, right, bottom are boxes of some, finite, width and height."""
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
    face_px: Series[np.float64] = pa.Field(
        gt=0,
        lt=float("inf"),
        nullable=True,
        description="side of the face's square in the source frame, pixels, without extract.margin; null where others "
        "cropped the clip",
    )
    cut_off: Series[np.float64] = pa.Field(
        ge=0, le=1, nullable=True, description="share of that square beyond the frame; null likewise"
    )
    presence: Series[np.float64] = pa.Field(
        ge=0,
        le=1,
        nullable=True,
        description="FaceMesh's probability of a face; null where it did not run (extract.mesh)",
    )
    roll_deg: Series[np.float64] = pa.Field(
        ge=-180,
        le=180,
        nullable=True,
        description="of the head, as FaceMesh sees it, degrees, positive clockwise in the image; this and the next are "
        "null where presence is below 0.5",
    )
    pitch_deg: Series[np.float64] = pa.Field(ge=-180, le=180, nullable=True, description="positive upwards")
    yaw_deg: Series[np.float64] = pa.Field(
        ge=-90, le=90, nullable=True, description="positive to the right of the image; roll comes after yaw after pitch"
    )
    mouth_open: Series[np.float64] = pa.Field(
        ge=0, lt=float("inf"), nullable=True, description="gap between the inner lips over their width"
    )
    eyes_open: Series[np.float64] = pa.Field(
        ge=0, lt=float("inf"), nullable=True, description="gap between the lids over the eye's width, mean of both eyes"
    )

    class Config:
        metadata = {"version": 2}

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return has_area(frame)

    @pa.dataframe_check(name="one_identity_per_track")
    def _one_identity_per_track(cls, frame: pd.DataFrame) -> Any:
        return frame.groupby("track_id")["identity"].transform("nunique") == 1

    @pa.dataframe_check(name="readings_have_a_presence")
    def _readings_have_a_presence(cls, frame: pd.DataFrame) -> Any:
        return frame["presence"].notna() | frame[list(READINGS)].isna().all(axis=1)

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
        metadata = {"version": 3}


class Ledger(Table):
    """One row per unit of work of an extraction, by its first clip: what became of a group of clips."""

    unit: Series[np.int64] = pa.Field(ge=0, unique=True, description="number of its first clip among all, by name")
    clips: Series[np.int64] = pa.Field(gt=0)
    tracks: Series[np.int64] = pa.Field(ge=0, description="kept")
    frames: Series[np.int64] = pa.Field(ge=0, description="kept")
    rejected_clips: Series[np.int64] = pa.Field(ge=0)
    rejected_tracks: Series[np.int64] = pa.Field(ge=0, description="of clips that were not rejected as a whole")
    boxes_clamped: Series[np.int64] = pa.Field(ge=0, description="annotated boxes that were cut back to their frame")
    samples_damaged: Series[np.int64] = pa.Field(
        ge=0, description="of clips that were kept: left out between a damaged frame and the next key frame"
    )
    files_ignored: Series[np.int64] = pa.Field(
        ge=0, description="files below extract.videos that are no videos; all of them in the first row"
    )
    clips_crowded: Series[np.int64] = pa.Field(
        ge=0, description="clips with several kept tracks of one identity at once: it is more than one person"
    )
    clips_swapped: Series[np.int64] = pa.Field(
        ge=0,
        description="clips with kept tracks of one identity of which the second took the place of the first within a "
        "shot, among other surroundings: most likely another person",
    )
    bytes: Series[np.int64] = pa.Field(ge=0, description="of its JPEGs")

    class Config:
        metadata = {"version": 4}

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
        return has_area(frame)
