"""A verdict as one HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fabnet.pages import render
from fabnet.quality.suites import MEANING, Judgement

_CASES = 5
_WIDTH, _HEIGHT, _BASE, _MARGIN = 300, 110, 88, 10  # of a plot


@dataclass(frozen=True)
class PicturePair:
    """Two frames that look alike: the splits they lie in, how far apart they are, and the name and JPEG of each."""

    splits: str
    apart: str
    first: str
    first_jpeg: bytes
    second: str
    second_jpeg: bytes


def page(
    subject: str,
    broken: str | None,
    judgements: Sequence[Judgement],
    tables: Mapping[str, pd.DataFrame],
    profile: Mapping[str, Any] | None,
    pictures: Sequence[PicturePair],
) -> str:
    """The page; a function of its arguments alone. See health.Verdict for what they are.

    Args:
        subject: what was judged, in words.
        broken: the rule that made a judgement impossible, or None.
        judgements: on every limit.
        tables: shown as they are, by title.
        profile: quantiles to plot, or None.
        pictures: pairs that look alike.
    """
    failed = [one.level for one in judgements if not one.passed]
    quantiles = profile["quantiles"] if profile is not None else {}
    return render(
        "health.html",
        title=f"Health of {subject}",
        broken=broken,
        judged=len(judgements),
        critical=failed.count("critical"),
        warnings=failed.count("warning"),
        limits=_limits(judgements),
        tables=[_table(name, table) for name, table in tables.items() if len(table)],
        plots=[_plot(name, values, profile["levels"] if profile else ()) for name, values in quantiles.items()],
        pairs=pictures,
    )


def _limits(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """A row per measure, those with a broken limit first; it shows the cases of its worst broken limit."""
    measures: dict[str, dict[str, Judgement]] = {}
    for one in judgements:
        measures.setdefault(one.name, {})[one.level] = one
    rows = []
    for name, levels in measures.items():
        broken = [one for one in levels.values() if not one.passed]
        shown = broken[0] if broken else max(levels.values(), key=lambda one: one.outside)
        result = "broken" if broken and shown.level == "critical" else "warning" if broken else "kept"
        cases = ", ".join(f"{case}: {_number(value)}" for case, value in shown.cases[:_CASES])
        more = f" and {shown.outside - _CASES} more" if shown.outside > _CASES else ""
        wanted = {level: levels[level].wanted if level in levels else "" for level in ("critical", "warning")}
        row = {"name": name, "meaning": MEANING[name], "result": result, **wanted}
        rows.append(row | {"outside": shown.outside, "rows": shown.rows, "cases": cases and cases + more})
    return sorted(rows, key=lambda row: ("broken", "warning", "kept").index(str(row["result"])))


def _table(name: str, table: pd.DataFrame) -> dict[str, Any]:
    columns = [
        {"title": str(column).replace("_", " "), "numeric": pd.api.types.is_numeric_dtype(table[column])}
        for column in table.columns
    ]

    def cells(row: Sequence[Any]) -> Iterator[tuple[dict[str, Any], str]]:
        for column, value in zip(columns, row, strict=True):
            yield column, _number(value) if column["numeric"] else str(value)

    rows = [list(cells(row)) for row in table.itertuples(index=False, name=None)]
    return {"title": name.capitalize(), "columns": columns, "rows": rows}


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4g}" if value != int(value) else f"{int(value)}"


def _plot(name: str, quantiles: Sequence[float], levels: Sequence[float]) -> dict[str, Any]:
    """The density between each two quantiles: 5 % of the values over the width they spread over."""
    plot: dict[str, Any] = {"title": name.replace("_", " "), "width": _WIDTH, "height": _HEIGHT, "bars": []}
    values = np.asarray(quantiles, dtype=float)
    low, high = float(values[0]), float(values[-1])
    if high <= low:
        return plot | {"texts": [_text(_WIDTH / 2, _BASE / 2, "middle", f"always {low:.4g}")]}
    # A value that many share gets a bar of finite height.
    span = np.maximum(np.diff(values), (high - low) / 100)
    density = np.diff(np.asarray(levels)) / span
    scale = (_WIDTH - 2 * _MARGIN) / (high - low)
    left = _MARGIN + (values[:-1] - low) * scale
    tall = density / density.max() * (_BASE - _MARGIN)
    plot["bars"] = [
        {"x": f"{x:.1f}", "y": f"{_BASE - y:.1f}", "width": f"{max(wide - 0.5, 0.5):.1f}", "height": f"{y:.1f}"}
        for x, y, wide in zip(left, tall, span * scale, strict=True)
    ]
    median = float(np.interp(0.5, levels, values))
    below = _HEIGHT - 6
    plot["texts"] = [
        _text(_MARGIN, below, "start", f"{low:.4g}"),
        _text(_WIDTH / 2, below, "middle", f"median {median:.4g}"),
        _text(_WIDTH - _MARGIN, below, "end", f"{high:.4g}"),
    ]
    return plot


def _text(x: float, y: float, anchor: str, words: str) -> dict[str, Any]:
    return {"x": x, "y": y, "anchor": anchor, "words": words}
