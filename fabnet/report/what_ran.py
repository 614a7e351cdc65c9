"""Which variants were trained, on what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fabnet.errors import UserError
from fabnet.report.blocks import Block, Figure, Gap, Section, Table, Text


def what_ran(
    cards: Mapping[str, Mapping[str, Any]], unread: Sequence[Gap] = (), experiment: str | None = None
) -> Section:
    """A line per variant.

    Args:
        cards: model.json of each trained variant.
        unread: those that could not be read.
        experiment: its page on an MLflow server, if runs are to be linked.
    """
    head = ["variant", "objective", "image", "samples", "best step", "validation loss", "weights", "crop recipe"]
    rows = [
        [
            name,
            card["objective"],
            f"{card['image_size']} px",
            str(card["params"]["samples"]),
            str(card["best_step"]),
            f"{card['best_validation_loss']:.4f}",
            _linked(f"`{card['weights_sha256'][:12]}`", experiment, card["weights_sha256"]),
            f"`{card['recipe']['hash']}`",
        ]
        for name, card in cards.items()
    ]
    runs = Text(
        "Each variant is a run of MLflow, named `train@VARIANT` or `finetune@VARIANT` and found by the tag "
        "`weights.sha256`: `mlflow ui` shows it"
        + (", as do the links above" if experiment else "")
        + ", `fabnet track sync` rebuilds it, and `dvc.lock` ties it to code, params and data."
    )
    return Section("What ran", "what-ran", [Table(head, rows), *unread, runs, *_params(cards)])


def _linked(text: str, experiment: str | None, weights: str) -> str:
    """A link to the run that made these weights, by what an MLflow server finds."""
    if experiment is None:
        return text
    wanted = quote(f'tags.`weights.sha256` = "{weights}"')
    return f"[{text}]({experiment}/runs?searchFilter={wanted})"


def _params(cards: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """A column for every param that variants differ in; the others, which all have, in a line."""
    params = {name: card["params"] for name, card in cards.items()}
    keys = list(dict.fromkeys(key for values in params.values() for key in values))
    shown = {name: {key: _cell(values.get(key)) for key in keys} for name, values in params.items()}
    differing = [key for key in keys if len({values[key] for values in shown.values()}) > 1]
    alike = ", ".join(
        f"{key} {values}" for key, values in next(iter(shown.values()), {}).items() if key not in differing
    )
    rows = [[name, *(values[key] for key in differing)] for name, values in shown.items()]
    table: list[Block] = [Table(["params", *differing], rows)] if differing else []
    return [*table, Text(f"All of them: {alike}.")] if alike else table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else "none" if value is None else str(value)


def data_health(health: Mapping[str, Any], sets: Sequence[str]) -> Section:
    """The frames that were learnt from, and where more is said of them.

    Args:
        health: reports/data/frames.json.
        sets: names of the labelled sets, whose pages are linked.
    """
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
    text = (
        f"{index['rows']} frames of {index['tracks']} tracks of {counts['splits']['rows']} identities ({people}); "
        f"rejected: {reasons}; boxes cut back to their frame: {counts['ledger']['boxes_clamped']}. "
        f"Limits of health that were passed, and only warn: {', '.join(sorted(warnings)) or 'none'}. "
        f"In full, where the pipeline ran or `dvc pull` was: {pages}."
    )
    return Section("Data", "data", [Text(text)])


def closest_pairs(path: Path) -> Section:
    """The picture that the stage `audit` drew.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro audit`")
    caption = "Is anybody in two splits? The pairs of frames of different splits that are most alike."
    picture = Figure(path, "Pairs of frames of different splits that look most alike", caption)
    return Section("Identities across splits", "audit", [picture])
