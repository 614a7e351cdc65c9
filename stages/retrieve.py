"""Nearest neighbours among the test faces of a labelled set: do similar embeddings mean similar faces?"""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """embeddings/SET + the labels -> retrieval/sets/SET, reports/retrieval/sets/SET"""
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.leftovers import check_leftovers
    from fabnet.retrieval.retrieve import retrieve_set

    params = load_params()
    check_leftovers()
    retrieve_set(
        open_set(name, params.labelled_set(name)),
        Path("embeddings", name),
        params.retrieve,
        params.train.names[0],
        params.extract.image_size,
        out=Path("retrieval/sets", name),
        reports=Path("reports/retrieval/sets", name),
    )


if __name__ == "__main__":
    run(main, one_thread=True)
