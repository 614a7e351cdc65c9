"""Contracts of a search over embeddings: who was found, and how well they fit."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from fabnet.contract import Table

_SETTINGS = ("kept", "left_out")


class IndexRows(Table):
    """Row i tells of vector i of an index; what is not known is missing."""

    id: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True)
    video: Series[str] = pa.Field(nullable=True, description="what was seen at one go: a file, or a video of frames")
    track: Series[str] = pa.Field(nullable=True, description="one person through one shot")
    identity: Series[str] = pa.Field(nullable=True)
    time_s: Series[np.float64] = pa.Field(nullable=True)
    image: Series[str] = pa.Field(nullable=True, description="a picture that shows it; the box is in its pixels")
    left: Series[np.float64] = pa.Field(nullable=True)
    top: Series[np.float64] = pa.Field(nullable=True)
    right: Series[np.float64] = pa.Field(nullable=True)
    bottom: Series[np.float64] = pa.Field(nullable=True)


class Neighbours(Table):
    """One row per query and neighbour, the nearest first."""

    query: Series[str] = pa.Field(str_length={"min_value": 1})
    rank: Series[np.int64] = pa.Field(ge=1)
    id: Series[str] = pa.Field(str_length={"min_value": 1})
    similarity: Series[np.float64] = pa.Field(ge=-1.01, le=1.01, description="cosine; float16 rounds it")
    video: Series[str] = pa.Field(nullable=True)
    track: Series[str] = pa.Field(nullable=True)
    identity: Series[str] = pa.Field(nullable=True)
    time_s: Series[np.float64] = pa.Field(nullable=True)

    class Config:
        unique = ["query", "rank"]


class RetrievedFaces(Table):
    """One row per query and neighbour, the nearest first; a query with few faces to find has fewer rows."""

    encoder: Series[str] = pa.Field(str_length={"min_value": 1})
    same_identity: Series[str] = pa.Field(isin=_SETTINGS, description="whether faces of the query's identity count")
    query: Series[str] = pa.Field(str_length={"min_value": 1}, description="face_id, or track/frame_no")
    rank: Series[np.int64] = pa.Field(ge=1)
    neighbour: Series[str] = pa.Field(str_length={"min_value": 1})
    similarity: Series[np.float64] = pa.Field(ge=-1.001, le=1.001, description="cosine")

    class Config:
        unique = ["encoder", "same_identity", "query", "rank"]

    @pa.dataframe_check(name="nobody_is_their_own_neighbour")
    def _others(cls, frame: pd.DataFrame) -> Any:
        return frame["query"] != frame["neighbour"]


class RetrievalScores(Table):
    """reports/retrieval, one row per score: {same_identity: {encoder: {metric: {value, low, high, n}}}}."""

    same_identity: Series[str] = pa.Field(isin=_SETTINGS)
    encoder: Series[str] = pa.Field(str_length={"min_value": 1}, description="`chance`: a random order")
    metric: Series[str] = pa.Field(str_matches=r"^[a-z0-9_]+_(deg|pct)$")
    value: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    low: Series[np.float64] = pa.Field(ge=0, description="95 % interval over the queries' identities")
    high: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    n: Series[np.int64] = pa.Field(gt=0, description="queries with a score")

    class Config:
        unique = ["same_identity", "encoder", "metric"]

    @pa.dataframe_check(name="value_within_its_interval")
    def _value_within_its_interval(cls, frame: pd.DataFrame) -> Any:
        return (frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])

    @pa.dataframe_check(name="shares_are_percentages")
    def _shares_are_percentages(cls, frame: pd.DataFrame) -> Any:
        return ~frame["metric"].str.endswith("_pct") | (frame["high"] <= 100.001)
