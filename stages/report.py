"""Scores of every encoder, in metrics.json and as a report with tables and pictures."""

from pathlib import Path

from _run import run


def main() -> None:
    """probes, supervised, models, pictures, data/frames -> metrics.json, reports/{results.*, *.json, training}"""
    from fabnet.config import load_params
    from fabnet.leftovers import check_leftovers
    from fabnet.report.write_report import write_report

    params = load_params()
    check_leftovers()
    models = {name: Path("models", name) for name in params.train.names}
    write_report(models, list(params.train.finetuned), params.sets, params.report, params.encoders)


if __name__ == "__main__":
    run(main)
