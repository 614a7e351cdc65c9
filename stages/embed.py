"""Embed a labelled set with every trained variant."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """models/* + the labelled set -> embeddings/SET/trained"""
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.leftovers import check_leftovers
    from fabnet.probing.embed_set import embed_trained

    params = load_params()
    check_leftovers()
    embed_trained(
        open_set(name, params.labelled_set(name)),
        {variant: Path("models", variant) for variant in params.train.names},
        params.embed.batch_size,
        out=Path("embeddings", name, "trained"),
    )


if __name__ == "__main__":
    run(main)
