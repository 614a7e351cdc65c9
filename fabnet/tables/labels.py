"""The contract of a labelled set, and the names of its labels."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from fabnet.contract import Table
from fabnet.tables.frames import SPLITS, has_area

#: FACS action units, as EmotioNet is scored in the paper.
UNITS = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)
UNIT_COLUMNS = tuple(f"au{unit:02d}" for unit in UNITS)

#: The eight expressions of AffectNet, in its order.
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")

ANGLE_COLUMNS = ("roll_deg", "pitch_deg", "yaw_deg")


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
    mouth_open: Series[np.float64] | None = pa.Field(
        ge=0, lt=float("inf"), description="gap between the inner lips over their width"
    )
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

    class Config:
        metadata = {"version": 2}

    @pa.check("landmarks68", element_wise=True, name="68_points")
    def _68_points(cls, value: Any) -> bool:
        return _is_points(value, 68)

    @pa.check("landmarks5", element_wise=True, name="5_points")
    def _5_points(cls, value: Any) -> bool:
        return _is_points(value, 5)

    @pa.dataframe_check(name="box_has_area")
    def _box_has_area(cls, frame: pd.DataFrame) -> Any:
        return has_area(frame)

    @pa.dataframe_check(name="one_split_per_identity")
    def _one_split_per_identity(cls, frame: pd.DataFrame) -> Any:
        return frame.groupby("identity")["split"].transform("nunique") == 1
