"""Scores as cells and tables, in Markdown."""

from collections.abc import Mapping, Sequence

from fabnet.report.blocks import Table

Score = Mapping[str, float | int]
Scores = Mapping[str, Score]

#: Stands where something was not measured.
NOTHING = "–"

#: Column titles of metrics.json's names, in the order of tables.
TITLES = {
    "yaw_mae_deg": "yaw ° ↓",
    "pitch_mae_deg": "pitch ° ↓",
    "roll_mae_deg": "roll ° ↓",
    "pose_mae_deg": "pose ° ↓",
    "landmarks68_nme_pct": "68 landmarks % ↓",
    "landmarks5_nme_pct": "5 landmarks % ↓",
    "units_auc": "action units AUC ↑",
    "expression_auc": "expression AUC ↑",
}


def score_cell(score: Score, digits: int = 1, bold: bool = True) -> str:
    """Value [low, high]."""
    mark = "**" if bold else ""
    return f"{mark}{score['value']:.{digits}f}{mark} [{score['low']:.{digits}f}, {score['high']:.{digits}f}]"


def number_cell(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def edge(value: float) -> str:
    """An edge of a bin: 15, or 0.5."""
    return f"{value:g}" if value < 1e5 else f"{value:.0f}"


def score_table(scores: Mapping[str, Scores], caption: str = "") -> Table:
    """One column per metric that any encoder has: value [low, high].

    Args:
        scores: {encoder: {metric: {"value", "low", "high", "n"}}}; the first encoders come first.
    """
    metrics = [metric for metric in TITLES if any(metric in row for row in scores.values())]
    rows = [
        [encoder, *(score_cell(row[metric]) if metric in row else NOTHING for metric in metrics)]
        for encoder, row in scores.items()
    ]
    return Table(["encoder", *(TITLES[metric] for metric in metrics)], rows, caption)


def area_table(areas: Mapping[str, Mapping[str, Score | None]], caption: str = "") -> Table:
    """One column per unit or class: its area; those without one are said to be absent.

    Args:
        areas: {encoder: {unit or class: score}}; None where all test faces agree.
    """
    columns: Sequence[str] = list(next(iter(areas.values())))
    rows = []
    for encoder, row in areas.items():
        found = [row[column] for column in columns]
        rows.append([encoder, *("absent" if each is None else f"{each['value']:.1f}" for each in found)])
    return Table(["encoder", *columns], rows, caption)
