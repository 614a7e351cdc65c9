"""Pictures of what the probes predict on a labelled set, and scores by bins of its faces."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """probes/SET, supervised/SET + the labelled set -> reports/sets/SET"""
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.probing.illustrate_set import illustrate_set
    from fabnet.probing.predictions import files_of

    params = load_params()
    illustrate_set(
        open_set(name, params.labelled_set(name)),
        files_of(name),
        Path("probes", name, "low_label.parquet"),
        {variant: params.train.variant(variant).objective for variant in params.train.names},
        params.report.reference or params.train.names[0],
        params.extract.image_size,
        params.report,
        out=Path("reports/sets", name),
    )


if __name__ == "__main__":
    run(main)
