"""A labelled set -> reports/data/sets/SET.json, if its labels are legal and it holds nobody of the embedded videos."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(set_name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    from fabnet.attributes.audit import audit_set
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.files import write_json

    params = load_params().labelled_set(set_name)
    # Only the embedded set names its people as the embedded videos do.
    strangers_to = Path("data/splits.parquet") if params.kind == "synthetic" else None
    counts = audit_set(set_name, open_set(set_name, params).table(), strangers_to)
    write_json(Path("reports/data/sets") / f"{set_name}.json", counts)


if __name__ == "__main__":
    run(main)
