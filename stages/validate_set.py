"""A labelled set -> reports/data/sets/SET.json and .html, if its labels are legal, fit and of nobody in the videos."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(set_name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    from dataclasses import replace

    from fabnet.attributes.audit import audit_set
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.quality.health import judge_set

    params = load_params()
    chosen = params.labelled_set(set_name)
    # Only the embedded set names its people as the embedded videos do.
    strangers_to = Path("data/splits.parquet") if chosen.kind == "synthetic" else None
    table = open_set(set_name, chosen).table()
    counts = audit_set(set_name, table, strangers_to)
    verdict = judge_set(set_name, table, params.health)
    verdict = replace(verdict, counts={**counts, "measures": verdict.counts})
    out = Path("reports/data/sets")
    verdict.write(out, set_name)
    verdict.require(out / f"{set_name}.html")


if __name__ == "__main__":
    run(main)
