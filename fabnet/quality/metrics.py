"""metrics.json as a table, so that its contract can be checked."""

from pathlib import Path
from typing import Any

import pandas as pd

from fabnet.errors import TableError

_SCORE = ("value", "low", "high", "n")


def metrics_frame(metrics: Any, where: Path | str) -> pd.DataFrame:
    """Rows of tables.Metrics from {set: {variant: {metric: {value, low, high, n}}}}.

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
