"""A verdict as one page of HTML that needs nothing else: no network, no script, no file beside it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from fabnet.quality.measures import MEANING
from fabnet.quality.suites import Judgement

_CASES = 5

_STYLE = """
:root { --ink: #1c2430; --dim: #5c6675; --line: #d5dbe3; --ground: #ffffff; --panel: #f4f6f9;
        --good: #1b7340; --bad: #b3261e; --warn: #8a5a00; --bar: #3b6fb6; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --dim: #9aa5b5; --line: #3a4352; --ground: #14181f; --panel: #1d232d;
          --good: #6fcf97; --bad: #ff8a80; --warn: #ffc766; --bar: #7aa9e8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto;
       max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .dim { color: var(--dim); }
.verdict { border-left: .4rem solid; padding: .6rem 1rem; background: var(--panel); overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; color: var(--dim); font-weight: 600; }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } code { font-size: .88em; }
td small { color: var(--dim); display: block; } .cases td { overflow-wrap: anywhere; font-size: .85em; }
tr:has(+ .cases) td { border-bottom: 0; padding-bottom: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; background: var(--panel); } svg text { fill: var(--dim); font-size: 11px; }
svg rect { fill: var(--bar); } figure { margin: 0; } figcaption { font-size: .85em; color: var(--dim); }
.pairs { display: flex; flex-wrap: wrap; gap: 1rem; } .pairs img { width: 96px; height: 96px; image-rendering: auto; }
"""


@dataclass(frozen=True)
class Picture:
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
    pictures: Sequence[Picture],
) -> str:
    """The page; a function of its arguments alone. See health.Verdict for what they are."""
    parts = [_verdict(broken, judgements)]
    if judgements:
        parts.append("<h2>Limits</h2>" + _limits(judgements))
    for name, table in tables.items():
        if len(table):
            parts.append(f"<h2>{escape(name.capitalize())}</h2>{_table(table)}")
    if profile is not None:
        plots = "".join(_plot(name, values, profile["levels"]) for name, values in profile["quantiles"].items())
        parts.append(
            f'<h2>Spread</h2><p class="dim">Each bar holds 5 % of the values.</p><div class="plots">{plots}</div>'
        )
    if pictures:
        shown = "".join(map(_pair, pictures))
        parts.append(f'<h2>Frames that look alike in two splits</h2><div class="pairs">{shown}</div>')
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Health of {escape(subject)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>Health of {escape(subject)}</h1>\n{body}\n</body></html>\n"
    )


def _verdict(broken: str | None, judgements: Sequence[Judgement]) -> str:
    failed = {
        level: sum(one.level == level and not one.passed for one in judgements) for level in ("critical", "warning")
    }
    if broken is not None:
        colour, words = "bad", f"<b>Illegal.</b> {escape(broken)}"
    elif failed["critical"]:
        colour, words = (
            "bad",
            f"<b>Not healthy.</b> {failed['critical']} critical limit(s) broken; the pipeline stops here.",
        )
    elif failed["warning"]:
        colour, words = "warn", f"<b>Healthy, with {failed['warning']} warning(s).</b>"
    else:
        colour, words = "good", f"<b>Healthy.</b> All {len(judgements)} limits are kept."
    return f'<div class="verdict {colour}">{words}</div>'


def _limits(judgements: Sequence[Judgement]) -> str:
    """A row per measure, those with a broken limit first; it shows the cases of its worst broken limit."""
    head = (
        "<tr><th>Result</th><th>Measure</th><th>Critical</th><th>Warning</th>"
        '<th class="number">Outside</th><th class="number">Of</th></tr>'
    )
    measures: dict[str, dict[str, Judgement]] = {}
    for one in judgements:
        measures.setdefault(one.name, {})[one.level] = one
    rows = []
    for name, levels in measures.items():
        broken = [one for one in levels.values() if not one.passed]
        shown = broken[0] if broken else max(levels.values(), key=lambda one: one.outside)
        result = "broken" if broken and shown.level == "critical" else "warning" if broken else "kept"
        colour = {"broken": "bad", "warning": "warn", "kept": "good"}[result]
        wanted = "".join(
            f"<td>{escape(levels[level].wanted) if level in levels else ''}</td>" for level in ("critical", "warning")
        )
        cases = ", ".join(f"{escape(case)}: {_number(value)}" for case, value in shown.cases[:_CASES])
        more = f" and {shown.outside - _CASES} more" if shown.outside > _CASES else ""
        row = (
            f'<tr><td class="{colour}">{result}</td>'
            f"<td><code>{escape(name)}</code><small>{escape(MEANING[name])}</small></td>{wanted}"
            f'<td class="number">{shown.outside}</td><td class="number">{shown.rows}</td></tr>'
        )
        if cases:
            row += f'<tr class="cases"><td></td><td colspan="5">{cases}{more}</td></tr>'
        rows.append((("broken", "warning", "kept").index(result), row))
    ordered = "".join(row for _, row in sorted(rows, key=lambda pair: pair[0]))
    return f'<div class="scroll"><table>{head}{ordered}</table></div>'


def _table(table: pd.DataFrame) -> str:
    numeric = {name: pd.api.types.is_numeric_dtype(table[name]) for name in table.columns}
    kind = {name: ' class="number"' if numeric[name] else "" for name in table.columns}
    head = "".join(f"<th{kind[name]}>{escape(str(name).replace('_', ' '))}</th>" for name in table.columns)
    rows = (
        "".join(
            f"<td{kind[name]}>{_number(value) if numeric[name] else escape(str(value))}</td>"
            for name, value in zip(table.columns, row, strict=True)
        )
        for row in table.itertuples(index=False)
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4g}" if value != int(value) else f"{int(value)}"


def _plot(name: str, quantiles: Sequence[float], levels: Sequence[float]) -> str:
    """The density between each two quantiles: 5 % of the values over the width they spread over."""
    width, height, base = 300, 110, 88
    values = np.asarray(quantiles, dtype=float)
    low, high = float(values[0]), float(values[-1])
    caption = f"<figcaption>{escape(name.replace('_', ' '))}</figcaption>"
    if high <= low:
        text = f'<text x="{width / 2}" y="{base / 2}" text-anchor="middle">always {low:.4g}</text>'
        return f'<figure><svg viewBox="0 0 {width} {height}">{text}</svg>{caption}</figure>'
    # A value that many share gets a bar of finite height.
    span = np.maximum(np.diff(values), (high - low) / 100)
    density = np.diff(np.asarray(levels)) / span
    x = 10 + (values[:-1] - low) / (high - low) * (width - 20)
    bars = "".join(
        f'<rect x="{left:.1f}" y="{base - tall:.1f}" width="{max(wide - 0.5, 0.5):.1f}" height="{tall:.1f}"/>'
        for left, wide, tall in zip(
            x, span / (high - low) * (width - 20), density / density.max() * (base - 10), strict=True
        )
    )
    median = float(np.interp(0.5, levels, values))
    ends = (
        f'<text x="10" y="{height - 6}">{low:.4g}</text>'
        f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">median {median:.4g}</text>'
        f'<text x="{width - 10}" y="{height - 6}" text-anchor="end">{high:.4g}</text>'
    )
    return f'<figure><svg viewBox="0 0 {width} {height}">{bars}{ends}</svg>{caption}</figure>'


def _pair(picture: Picture) -> str:
    images = "".join(
        f'<img alt="{escape(name)}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
        for name, jpeg in ((picture.first, picture.first_jpeg), (picture.second, picture.second_jpeg))
    )
    return (
        f"<figure>{images}<figcaption>{escape(picture.splits)}: {escape(picture.apart)} apart<br>"
        f"{escape(picture.first)}<br>{escape(picture.second)}</figcaption></figure>"
    )
