"""Scores as lines for a terminal."""

from collections.abc import Mapping
from typing import Any

#: What metrics of metrics.json are called, in their order; those that end in ▲ are better when higher.
TITLES = {
    "yaw_mae_deg": "yaw, ° ▼",
    "pitch_mae_deg": "pitch, ° ▼",
    "roll_mae_deg": "roll, ° ▼",
    "pose_mae_deg": "pose, ° ▼",
    "landmarks68_nme_pct": "68 landmarks, % ▼",
    "landmarks5_nme_pct": "5 landmarks, % ▼",
    "units_auc": "action units, AUC ▲",
    "expression_auc": "expression, AUC ▲",
}


def score_text(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A line per metric, a column per encoder: value [low, high], the 95 % interval over people.

    Args:
        scores: {encoder: {metric: {"value", "low", "high", "n"}}}.
    """
    known = [metric for metric in TITLES if any(metric in row for row in scores.values())]
    faces = max((score["n"] for row in scores.values() for score in row.values()), default=0)
    lines = [[TITLES[metric], *(_cell(row.get(metric)) for row in scores.values())] for metric in known]
    return _aligned([f"{faces} test faces", *scores], lines)


def paired_text(paired: Mapping[str, Mapping[str, Mapping[str, Any]]], reference: str) -> str:
    """A line per metric, a column per encoder: its difference from the reference [low, high], `*` where not zero.

    Args:
        paired: {encoder: {metric: {"difference", "low", "high", "n", "apart"}}}.
    """
    known = [metric for metric in TITLES if any(metric in row for row in paired.values())]
    lines = [[TITLES[metric], *(_difference(row.get(metric)) for row in paired.values())] for metric in known]
    return _aligned([f"minus {reference}", *paired], lines)


def _aligned(header: list[str], lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in [header, *lines])


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    mark = " *" if found["apart"] else ""
    return f"{found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]{mark}"


def _cell(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None else f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
