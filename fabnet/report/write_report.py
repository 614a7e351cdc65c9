"""The whole report: scores in metrics.json, and all that was found as Markdown and as one HTML file."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fabnet import tables
from fabnet.config import EncoderParams, ReportParams, SetParams
from fabnet.errors import UserError
from fabnet.figures.pictures import Gap, Picture, attempt
from fabnet.files import atomic_file, read_json, write_json
from fabnet.probing.predictions import PAPER_PREFIX
from fabnet.report.blocks import Content, Scores, Section, Text, require_whole, section
from fabnet.report.inside import inside
from fabnet.report.paper_tables import paper_tables
from fabnet.report.render import html, markdown
from fabnet.report.retrieval import retrieval
from fabnet.report.set_results import SetResults, gather_set, require_reference, training_run
from fabnet.report.set_section import labelled_set
from fabnet.report.training import caution, training, what_ran

_FRAMES, _SPLITS, _PROBES = Path("data/frames"), Path("data/splits.parquet"), Path("probes")
_TRAINING = Path("reports/training")
_HEALTH = Path("reports/data/frames.json")
_CLOSEST = Path("reports/audit/closest.png")


def write_report(
    models: Mapping[str, Path],
    finetuned: Sequence[str],
    sets: Mapping[str, SetParams],
    params: ReportParams,
    others: Mapping[str, EncoderParams],
) -> None:
    """Write metrics.json and reports/{results.md, results.html, paired.json, training}.

    A section that fails is a placeholder with its reason; the report is written, and then refused.

    Args:
        models: folders as `train` writes them, by variant.
        finetuned: those of the variants that began with another's weights.
        sets: by name, the labelled sets.
        params: the section `report`.
        others: the section `encoders`.

    Raises:
        UserError: a part of the report could not be made, or `report.reference` names no encoder.
    """
    read = {name: attempt(f"card of {name}", partial(read_json, path / "model.json")) for name, path in models.items()}
    cards = {name: card for name, card in read.items() if not isinstance(card, Gap)}
    unread = [card for card in read.values() if isinstance(card, Gap)]
    runs = {name: training_run(name, name in finetuned, card) for name, card in cards.items()}
    reference = params.reference or next(iter(models))
    gathered = {
        name: attempt(f"labelled set {name}", partial(gather_set, name, chosen, params, reference, runs, others))
        for name, chosen in sets.items()
    }
    found = {name: each for name, each in gathered.items() if not isinstance(each, Gap)}
    require_reference(reference, {encoder for each in found.values() for encoder in each.scores})
    faces = {name: each.scored_faces for name, each in found.items()}
    sections = [
        section("What ran", "what-ran", lambda: (*caution(cards, faces), *what_ran(cards, unread, params.runs))),
        section("Data", "data", lambda: data_health(read_json(_HEALTH), list(sets))),
        section("The paper's tables", "paper-tables", partial(paper_tables, list(found.values()))),
        *(_set_section(name, each) for name, each in gathered.items()),
        section("Retrieval", "retrieval", partial(retrieval, sets)),
        section("Training", "training", partial(training, models, _FRAMES, _TRAINING)),
        section("Looking inside", "inside", partial(inside, models, _FRAMES, _SPLITS, _PROBES, _TRAINING)),
        section("Identities across splits", "audit", partial(closest_pairs, _CLOSEST)),
    ]
    with atomic_file("reports/results.md") as temporary:
        temporary.write_text(markdown("Results", sections, Path("reports")))
    with atomic_file("reports/results.html") as temporary:
        temporary.write_text(html("fabnet: results", sections))
    _write_scores(found, reference)
    require_whole(sections, "reports/results.md")


def _set_section(name: str, found: SetResults | Gap) -> Section:
    title, anchor = f"Labelled set `{name}`", f"set-{name}"
    if isinstance(found, Gap):
        return Section(title, anchor, [found])
    return section(title, anchor, partial(labelled_set, found))


def _write_scores(found: Mapping[str, SetResults], reference: str) -> None:
    differences = {name: {"reference": reference, "differences": each.paired} for name, each in found.items()}
    write_json("reports/paired.json", differences)
    metrics = {name: _both_probes(each) for name, each in found.items()}
    tables.check(tables.metrics_frame(metrics, "metrics.json"), tables.Metrics, "metrics.json")
    write_json("metrics.json", metrics)


def _both_probes(found: SetResults) -> dict[str, Scores]:
    """The headline by metric, and the paper's probe under names that say so."""
    return {
        encoder: {
            **row,
            **{f"{PAPER_PREFIX}{metric}": each for metric, each in found.papers.get(encoder, {}).items()},
        }
        for encoder, row in found.scores.items()
    }


def data_health(health: Mapping[str, Any], sets: Sequence[str]) -> Content:
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
    yield Text(
        f"{index['rows']} frames of {index['tracks']} tracks of {counts['splits']['rows']} identities ({people}); "
        f"rejected: {reasons}; boxes cut back to their frame: {counts['ledger']['boxes_clamped']}. "
        f"Limits of health that were passed, and only warn: {', '.join(sorted(warnings)) or 'none'}. "
        f"In full, where the pipeline ran or `dvc pull` was: {pages}."
    )


def closest_pairs(path: Path) -> Content:
    """The picture that the stage `audit` drew.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro audit`")
    caption = "Is anybody in two splits? The pairs of frames of different splits that are most alike."
    yield Picture(path, "Pairs of frames of different splits that look most alike", caption)
