"""Scores of all encoders on all sets as a Markdown report that people read."""

from collections.abc import Iterable, Mapping
from typing import Any

Score = Mapping[str, float | int]
Scores = Mapping[str, Score]

#: Column titles of metrics.json's names, in the order of the table.
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


def score_table(scores: Mapping[str, Scores]) -> str:
    """One line per encoder, one column per metric that any of them has: value [low, high].

    Args:
        scores: {encoder: {metric: {"value", "low", "high", "n"}}}; the first encoders come first.
    """
    metrics = [metric for metric in TITLES if any(metric in row for row in scores.values())]
    lines = [
        "| encoder | " + " | ".join(TITLES[metric] for metric in metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    for encoder, row in scores.items():
        cells = [_cell(row[metric]) if metric in row else "–" for metric in metrics]
        lines.append(f"| {encoder} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def area_table(areas: Mapping[str, Mapping[str, float]]) -> str:
    """One line per encoder, one column per unit or class."""
    columns = list(next(iter(areas.values())))
    lines = ["| encoder | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for encoder, row in areas.items():
        cells = ["absent" if row[column] != row[column] else f"{row[column]:.1f}" for column in columns]
        lines.append(f"| {encoder} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(score: Score) -> str:
    return f"**{score['value']:.1f}** [{score['low']:.1f}, {score['high']:.1f}]"


def report_markdown(
    scores: Mapping[str, Mapping[str, Mapping[str, Scores]]],
    areas: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
    cards: Mapping[str, Mapping[str, Any]],
    health: Mapping[str, Any],
    pictures: Iterable[str],
) -> str:
    """The report.

    Args:
        scores: {probe: {set: {encoder: {metric: score}}}}.
        areas: {set: {task: {encoder: {unit or class: area}}}}.
        cards: model.json of each trained variant.
        health: reports/data/frames.json.
        pictures: paths of figures, relative to the report.
    """
    parts = ["# Results", _what_ran(cards), _data(health, scores["torch"])]
    for name, encoders in scores["torch"].items():
        faces = max(score["n"] for row in encoders.values() for score in row.values())
        parts += [
            f"## Labelled set `{name}`",
            f"Linear probes (batch norm and a bias-free linear layer, mean over seeds) on frozen embeddings, {faces} "
            "test faces; in brackets the 95 % bootstrap interval over test identities. Landmark errors are in percent "
            "of the inter-ocular distance, angles are mean absolute errors, areas are under the ROC curve, in percent. "
            "`constant` always answers the mean of the training labels, `random` is the encoder before training, "
            "`hog` and `pca` are features of the pixels that need no learning from videos.",
            score_table(encoders),
        ]
        for task, rows in sorted(areas[name].items()):
            parts += [f"### Area by {'unit' if task == 'units' else 'class'}", area_table(rows)]
        parts += [
            "### Cross-check with scikit-learn",
            "Ridge and logistic regression on standardised embeddings, penalties chosen on validation identities.",
            score_table(scores["sklearn"][name]),
        ]
    parts += ["## Pictures", *(f"![{path}]({path})" for path in pictures)]
    return "\n\n".join(parts) + "\n"


def _what_ran(cards: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| variant | objective | image | samples | best step | validation loss | weights | crop recipe |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, card in cards.items():
        cells = (
            name,
            card["objective"],
            f"{card['image_size']} px",
            card["params"]["samples"],
            card["best_step"],
            f"{card['best_validation_loss']:.4f}",
            f"`{card['weights_sha256'][:12]}`",
            f"`{card['recipe']['hash']}`",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _data(health: Mapping[str, Any], sets: Iterable[str]) -> str:
    counts = health["counts"]
    linked = {"the frames": "data/frames.html", **{f"`{name}`": f"data/sets/{name}.html" for name in sets}}
    linked["identities across splits"] = "audit/pairs.html"
    pages = ", ".join(f"[{what}]({page})" for what, page in linked.items())
    index, rejects = counts["index"], counts["rejects"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejects["reasons"].items() if count) or "none"
    people = ", ".join(f"{count} {split}" for split, count in counts["splits"]["identities"].items())
    warnings = [
        name for name, levels in health["limits"].items() if not levels.get("warning", {"passed": True})["passed"]
    ]
    return (
        f"{index['rows']} frames of {index['tracks']} tracks of {counts['splits']['rows']} identities ({people}); "
        f"rejected: {reasons}; boxes cut back to their frame: {counts['ledger']['boxes_clamped']}. "
        f"Limits of health that were passed, and only warn: {', '.join(sorted(warnings)) or 'none'}. "
        f"In full, where the pipeline ran or `dvc pull` was: {pages}."
    )
