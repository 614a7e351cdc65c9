"""Untrained features, the VGG-Face descriptor and embeddings made elsewhere, for the faces of a labelled set."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """the labelled set -> embeddings/SET/baselines"""
    from fabnet.attributes.sets import open_set
    from fabnet.config import EncoderParams, load_params
    from fabnet.probing.embed_encoder import embed_encoders
    from fabnet.probing.embed_set import SetEmbedder, embed_features, embed_outside

    params = load_params()
    chosen, vgg_face = params.labelled_set(name), params.baselines.vgg_face
    labelled, out = open_set(name, chosen), Path("embeddings", name, "baselines")
    # First, since they may be refused.
    embed_outside(labelled, {encoder: chosen.path / file for encoder, file in chosen.embeddings.items()}, out)
    if vgg_face.weights is not None:
        source = {"source": f"vgg_face:{vgg_face.weights}", "sha256": vgg_face.sha256}
        descriptor = EncoderParams.model_validate(source)
        embed_encoders(labelled, {"vgg_face": descriptor}, params.embed.batch_size, out)
    embedder = SetEmbedder(labelled, out, params.extract.image_size, params.embed.batch_size)
    embed_features(embedder, params.train.common)


if __name__ == "__main__":
    run(main, one_thread=True)
