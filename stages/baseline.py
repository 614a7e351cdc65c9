"""Features that took no learning from videos, and embeddings made elsewhere, for the faces of a labelled set."""

from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """the labelled set -> embeddings/SET/baselines"""
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import numpy as np

    from fabnet.attributes.sets import iterate_crops, open_set
    from fabnet.config import VariantParams, load_params
    from fabnet.networks.build import random_encoder
    from fabnet.networks.embed import embed_images
    from fabnet.probing.embeddings import write_embeddings
    from fabnet.probing.features import HOG_DIMENSION, PixelPca, common_scale, hog
    from fabnet.probing.origin import require_set
    from fabnet.probing.outside import open_outside, write_outside
    from fabnet.progress import track
    from fabnet.supervised.vgg_face import describe, open_vgg_face

    params = load_params()
    chosen = params.labelled_set(name)
    labelled = open_set(name, chosen)
    table = labelled.table()
    size, batch = params.extract.image_size, params.embed.batch_size

    def crops(split: str | None = None, side: int = size) -> Iterator[np.ndarray]:
        return (images for _, images in iterate_crops(labelled, side, batch, split))

    def write(encoder: str, batches: Iterable[np.ndarray], dimension: int, **origin: int | str) -> None:
        meta = {"encoder": encoder, "set": name, "weights_sha256": None, "recipe_hash": None, "image_size": size}
        meta |= origin
        progress = track(batches, f"{encoder}@{name}", -(-len(table) // batch), "batch")
        directory = Path("embeddings", name, "baselines", encoder)
        write_embeddings(directory, table["face_id"].tolist(), progress, dimension, len(table), meta)

    for rival, file in chosen.embeddings.items():  # first, for they may be refused
        with TemporaryDirectory() as scratch:
            outside = open_outside(chosen.path / file, Path(scratch))
            require_set(outside.origin, name, outside.path)
            # Not under `weights_sha256`, which would promise that a model of ours embeds new faces like these.
            meta = {
                "encoder": rival,
                "set": name,
                "weights_sha256": None,
                "recipe_hash": None,
                "origin": outside.origin,
            }
            write_outside(outside, Path("embeddings", name, "baselines", rival), table["face_id"].tolist(), meta)
    given = params.baselines.vgg_face
    if given.weights is not None and given.sha256 is not None:
        network = open_vgg_face(given.weights, given.sha256)
        described = describe(network, crops(side=network.size))
        write("vgg_face", described, network.dimension, image_size=network.size, file_sha256=given.sha256)
        del network
    write("hog", map(hog, crops()), HOG_DIMENSION)
    pca = PixelPca(crops("train"))
    write("pca", map(pca, crops()), pca.dimension)
    # The network that variants have in common, as it is before training.
    common = VariantParams.model_construct(**params.train.common)
    encoder = random_encoder(size, common.base_filters, common.embedding_dim, common.seed)
    scale = common_scale(embed_images(encoder, crops("train")))
    write("random", (features / scale for features in embed_images(encoder, crops())), common.embedding_dim)


if __name__ == "__main__":
    run(main, one_thread=True)
