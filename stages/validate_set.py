"""A labelled set -> reports/data/sets/SET.json and .html, if its labels are legal, fit and of nobody in the videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from _run import run

if TYPE_CHECKING:
    from fabnet.config import Params
    from fabnet.quality.health import Verdict


def main(set_name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    from fabnet.config import load_params
    from fabnet.errors import UserError
    from fabnet.quality.health import Verdict

    params = load_params()
    params.labelled_set(set_name)  # an error of params, not of data
    out = Path("reports/data/sets")
    try:
        verdict = _judge(set_name, params)
    except UserError as error:  # is told in the report, too
        verdict = Verdict(f"labelled set {set_name}", broken=str(error))
    verdict.write(out, set_name)
    verdict.require(out / f"{set_name}.html")


def _judge(set_name: str, params: "Params") -> "Verdict":
    from dataclasses import replace

    from fabnet.attributes.audit import audit_images, audit_set
    from fabnet.attributes.sets import open_set
    from fabnet.quality.health import judge_set

    chosen = params.labelled_set(set_name)
    # Only the embedded set names its people as the embedded videos do.
    strangers_to = Path("data/splits.parquet") if chosen.kind == "synthetic" else None
    labelled = open_set(set_name, chosen)
    table = labelled.table()
    counts = audit_set(set_name, table, strangers_to) | audit_images(labelled)
    verdict = judge_set(set_name, table, params.health)
    verdict = replace(verdict, counts={**counts, "measures": verdict.counts})
    if len(labelled.left_out):
        verdict = replace(verdict, tables={**verdict.tables, "left out": labelled.left_out})
    return verdict


if __name__ == "__main__":
    run(main)
