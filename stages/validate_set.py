"""A labelled set -> reports/data/sets/SET.json and .html, if its labels are legal, fit and of nobody in the videos."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    from fabnet.config import load_params
    from fabnet.quality.set_audit import validate_set

    params = load_params()
    out = Path("reports/data/sets")
    verdict = validate_set(name, params.labelled_set(name), Path("data/splits.parquet"), params.health)
    verdict.write(out, name)
    verdict.require(out / f"{name}.html")


if __name__ == "__main__":
    run(main)
