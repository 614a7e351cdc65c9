"""Contracts of what training and probing leave: learning curves, embeddings, predictions and scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from fabnet.contract import Table
from fabnet.errors import TableError


class History(Table):
    """One row per logged point of a training run; `loss` is the mean over the samples since the point before."""

    step: Series[np.int64] = pa.Field(ge=1)
    samples: Series[np.int64] = pa.Field(ge=1)
    split: Series[str] = pa.Field(isin=("train", "validation"))
    loss: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    learning_rate: Series[np.float64] = pa.Field(ge=0)
    copying: Series[np.float64] = pa.Field(
        ge=0,
        lt=float("inf"),
        nullable=True,
        description="of a validation: the loss of moving no pixel, on the same samples; empty for objectives without",
    )

    class Config:
        unique = ["step", "split"]
        metadata = {"version": 2}


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


class EmbeddingIds(Table):
    """Row i names row i of the array of embeddings beside it."""

    face_id: Series[str] = pa.Field(str_length={"min_value": 1}, unique=True)


class Predictions(Table):
    """One row per scored face, encoder, probe, task and seed; where a set is scored by folds, a repeat is a seed."""

    encoder: Series[str] = pa.Field(str_length={"min_value": 1})
    probe: Series[str] = pa.Field(isin=("regularised", "paper", "supervised"))
    task: Series[str] = pa.Field(isin=("landmarks68", "landmarks5", "pose", "mouth", "units", "expression"))
    seed: Series[np.int64] = pa.Field(ge=0)
    face_id: Series[str] = pa.Field(str_length={"min_value": 1})
    identity: Series[str] = pa.Field(str_length={"min_value": 1})
    # Equally long lists: points in pixels of the crop, angles in degrees, the mouth's opening over its width, 0 / 1 per
    # class or unit against a score.
    target: Series[object]
    prediction: Series[object]

    class Config:
        unique = ["encoder", "probe", "task", "seed", "face_id"]
        metadata = {"version": 3}


class Metrics(Table):
    """metrics.json, one row per score: {set: {variant: {metric: {value, low, high, n}}}}.

    Scores are of the regularised probe; those of the paper's are called paper_probe_METRIC.
    """

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


_SCORE = ("value", "low", "high", "n")


def metrics_frame(metrics: Any, where: Path | str) -> pd.DataFrame:
    """Rows of Metrics from metrics.json, {set: {variant: {metric: {value, low, high, n}}}}.

    Args:
        metrics: content of metrics.json.
        where: the file, for the error.

    Raises:
        TableError: it is not nested like that; names `where` and the place.
    """
    rows = []
    for name, variants in _items(metrics, str(where)):
        for variant, scores in _items(variants, f"{where}: {name}"):
            for metric, score in _items(scores, f"{where}: {name}.{variant}"):
                place = f"{where}: {name}.{variant}.{metric}"
                if set(dict(_items(score, place))) != set(_SCORE):
                    raise TableError(f"{place}: must hold {', '.join(_SCORE)}, not {', '.join(score)}")
                wrong = [
                    key for key in _SCORE if isinstance(score[key], bool) or not isinstance(score[key], int | float)
                ]
                if wrong or not float(score["n"]).is_integer():
                    key = wrong[0] if wrong else "n"
                    raise TableError(f"{place}.{key}: is {score[key]!r}, not a number of the right kind")
                rows.append((name, variant, metric, *(float(score[key]) for key in _SCORE[:3]), int(score["n"])))
    frame = pd.DataFrame(rows, columns=["set", "variant", "metric", *_SCORE])
    numbers: dict[str, Any] = dict.fromkeys(_SCORE[:3], float)
    return frame.astype({**numbers, "set": str, "variant": str, "metric": str, "n": "int64"})


def _items(value: Any, place: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise TableError(f"{place}: must be a mapping, not {value!r:.60}")
    return list(value.items())


class LowLabel(Table):
    """One score of an encoder whose probes learnt from a share of the training faces; share 1 is the main result."""

    encoder: Series[str] = pa.Field(str_length={"min_value": 1})
    share: Series[np.float64] = pa.Field(gt=0, le=1, description="of the training faces of the labelled set")
    faces: Series[np.int64] = pa.Field(ge=2, description="training faces")
    metric: Series[str] = pa.Field(str_matches=r"^[a-z0-9_]+$", description="its last word is its unit")
    value: Series[np.float64] = pa.Field(ge=0, lt=float("inf"), description="mean over the seeds")
    low: Series[np.float64] = pa.Field(ge=0, description="95 % interval over test identities")
    high: Series[np.float64] = pa.Field(ge=0, lt=float("inf"))
    seeds: Series[np.int64] = pa.Field(gt=0, description="each with training faces of its own")

    class Config:
        unique = ["encoder", "share", "metric"]

    @pa.dataframe_check(name="low_is_at_most_high")
    def _low_is_at_most_high(cls, frame: pd.DataFrame) -> Any:
        return frame["low"] <= frame["high"]
