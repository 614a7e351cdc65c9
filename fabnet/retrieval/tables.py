"""What a search found, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.retrieval.exact import Neighbours


def neighbours_frame(ids: Sequence[str], found: Mapping[str, Mapping[str, Neighbours]]) -> pd.DataFrame:
    """Rows of tables.RetrievedFaces.

    Args:
        ids: names of the gallery, whose first faces are the queries.
        found: by encoder and by whether faces of the query's identity count.
    """
    names = np.array(ids, dtype=object)
    parts = []
    for encoder, by_setting in found.items():
        for setting, each in by_setting.items():
            query, rank = np.nonzero(each.rows >= 0)
            part = {
                "query": names[query],
                "rank": rank.astype(np.int64) + 1,
                "neighbour": names[each.rows[query, rank]],
                "similarity": each.similarity[query, rank].astype(np.float64),
            }
            parts.append(pd.DataFrame({"encoder": encoder, "same_identity": setting} | part))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if frame.empty:
        return tables.RetrievedFaces.empty_frame()
    text = ["encoder", "same_identity", "query", "neighbour"]
    return frame.astype(dict.fromkeys(text, "str"))


def scores_frame(scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> pd.DataFrame:
    """{same_identity: {encoder: {metric: score}}} as rows of tables.RetrievalScores."""
    rows = [
        {"same_identity": setting, "encoder": encoder, "metric": metric}
        | {key: score[key] for key in ("value", "low", "high", "n")}
        for setting, encoders in scores.items()
        for encoder, metrics in encoders.items()
        for metric, score in metrics.items()
    ]
    return pd.DataFrame(rows) if rows else tables.RetrievalScores.empty_frame()
