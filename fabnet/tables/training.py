"""Contracts of what a training run wrote down."""

import numpy as np
import pandera.pandas as pa
from pandera.typing import Series

from fabnet.contract import Table


class History(Table):
    """One row per logged point of a training run; `loss` is the mean over the samples since the point before."""

    step: Series[np.int64] = pa.Field(ge=1)
    samples: Series[np.int64] = pa.Field(ge=1)
    split: Series[str] = pa.Field(isin=("train", "validation"))
    loss: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    learning_rate: Series[np.float64] = pa.Field(ge=0)

    class Config:
        unique = ["step", "split"]


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
