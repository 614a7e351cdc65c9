"""Numbers as cells of a table, in Markdown of one line."""

from collections.abc import Mapping

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

#: One metric for each task.
MAIN = ("landmarks68_nme_pct", "landmarks5_nme_pct", "pose_mae_deg", "units_auc", "expression_auc")


def score_cell(score: Score, digits: int = 1, bold: bool = True) -> str:
    """Value [low, high]."""
    mark = "**" if bold else ""
    return f"{mark}{score['value']:.{digits}f}{mark} [{score['low']:.{digits}f}, {score['high']:.{digits}f}]"


def number_cell(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def edge(value: float) -> str:
    """An edge of a bin: 15, or 0.5."""
    return f"{value:g}" if value < 1e5 else f"{value:.0f}"
