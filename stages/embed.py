"""Embed a labelled set with every trained variant, and with encoders of others."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """models/*, encoders + the labelled set -> embeddings/SET/trained"""
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.leftovers import check_leftovers
    from fabnet.probing.embed_encoder import embed_encoders
    from fabnet.probing.embed_set import embed_trained

    params = load_params()
    check_leftovers()
    labelled, out = open_set(name, params.labelled_set(name)), Path("embeddings", name, "trained")
    models = {variant: Path("models", variant) for variant in params.train.names}
    embed_trained(labelled, models, params.embed.batch_size, out)
    embed_encoders(labelled, params.encoders, params.embed.batch_size, out)


if __name__ == "__main__":
    run(main)
