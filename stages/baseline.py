"""Untrained features, the VGG-Face descriptor and embeddings made elsewhere, for the faces of a labelled set."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """the labelled set -> embeddings/SET/baselines"""
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.probing.embed_set import SetEmbedder, embed_features, embed_outside
    from fabnet.supervised.vgg_face import embed_vgg_face

    params = load_params()
    chosen, vgg_face = params.labelled_set(name), params.baselines.vgg_face
    labelled, out = open_set(name, chosen), Path("embeddings", name, "baselines")
    # First, since they may be refused.
    embed_outside(labelled, {encoder: chosen.path / file for encoder, file in chosen.embeddings.items()}, out)
    embedder = SetEmbedder(labelled, out, params.extract.image_size, params.embed.batch_size)
    if vgg_face.weights is not None and vgg_face.sha256 is not None:
        embed_vgg_face(embedder, vgg_face.weights, vgg_face.sha256)
    embed_features(embedder, params.train.common)


if __name__ == "__main__":
    run(main, one_thread=True)
