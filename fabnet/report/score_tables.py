"""Scores of encoders as tables: a line each."""

from collections.abc import Mapping, Sequence

from fabnet.report.blocks import Table
from fabnet.report.cells import NOTHING, TITLES, Score, Scores, score_cell


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
