"""Names that several contracts share: splits, labels, reasons."""

import numpy as np
import pandas as pd

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


def has_area(box: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of left, top, right, bottom are boxes of some, finite, width and height."""
    width, height = box["right"] - box["left"], box["bottom"] - box["top"]
    return (width > 0) & (height > 0) & (width < np.inf) & (height < np.inf)
