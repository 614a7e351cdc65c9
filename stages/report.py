"""Scores of every encoder, in metrics.json and as a report with tables and pictures."""

from pathlib import Path

from _run import run


def main() -> None:
    """probes, supervised, models, pictures, data/frames -> metrics.json, reports/{results.*, *.json, training}"""
    from functools import partial

    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.files import atomic_file, read_json, write_json
    from fabnet.leftovers import check_leftovers
    from fabnet.quality.metrics import metrics_frame
    from fabnet.report.attempt import attempt, attempt_section, require_whole
    from fabnet.report.blocks import Gap, Section
    from fabnet.report.gathered import gather_set, require_reference, training_run
    from fabnet.report.inside import inside
    from fabnet.report.labelled_set import labelled_set
    from fabnet.report.markdown import markdown
    from fabnet.report.page import page
    from fabnet.report.paper_tables import paper_tables
    from fabnet.report.retrieval import retrieval
    from fabnet.report.training import training
    from fabnet.report.what_ran import closest_pairs, data_health, what_ran

    params = load_params()
    check_leftovers()
    models = {name: Path("models") / name for name in params.train.names}
    read = {name: attempt(f"card of {name}", partial(read_json, path / "model.json")) for name, path in models.items()}
    cards = {name: card for name, card in read.items() if not isinstance(card, Gap)}
    unread = [card for card in read.values() if isinstance(card, Gap)]
    runs = {name: training_run(name, name in params.train.finetuned, card) for name, card in cards.items()}
    reference = params.report.reference or params.train.names[0]
    gathered = {
        name: attempt(
            f"labelled set {name}",
            partial(gather_set, name, params.sets[name], params.report, reference, runs),
        )
        for name in params.sets
    }
    found = {name: each for name, each in gathered.items() if not isinstance(each, Gap)}
    require_reference(reference, {encoder for each in found.values() for encoder in each.scores})
    out = Path("reports/training")
    health = Path("reports/data/frames.json")
    sections = [
        attempt_section("What ran", "what-ran", lambda: what_ran(cards, unread, params.report.runs)),
        attempt_section("Data", "data", lambda: data_health(read_json(health), list(params.sets))),
        attempt_section("The paper's tables", "paper-tables", lambda: paper_tables(list(found.values()))),
        *(
            Section(f"Labelled set `{name}`", f"set-{name}", [each]) if isinstance(each, Gap) else labelled_set(each)
            for name, each in gathered.items()
        ),
        attempt_section("Retrieval", "retrieval", lambda: retrieval(params.sets)),
        attempt_section("Training", "training", lambda: training(models, Path("data/frames"), out)),
        attempt_section(
            "Looking inside",
            "inside",
            lambda: inside(models, Path("data/frames"), Path("data/splits.parquet"), Path("probes"), out),
        ),
        attempt_section("Identities across splits", "audit", lambda: closest_pairs(Path("reports/audit/closest.png"))),
    ]
    with atomic_file("reports/results.md") as temporary:
        temporary.write_text(markdown("Results", sections, Path("reports")))
    with atomic_file("reports/results.html") as temporary:
        temporary.write_text(page("fabnet: results", sections))
    write_json("reports/crosscheck.json", {name: each.crosscheck for name, each in found.items()})
    write_json(
        "reports/paired.json",
        {name: {"reference": reference, "differences": each.paired} for name, each in found.items()},
    )
    metrics = {name: each.scores for name, each in found.items()}
    tables.check(metrics_frame(metrics, "metrics.json"), tables.Metrics, "metrics.json")
    write_json("metrics.json", metrics)
    require_whole(sections, "reports/results.md")


if __name__ == "__main__":
    run(main)
