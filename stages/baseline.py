"""Features that took no learning from videos (random encoder, pca, hog) for the faces of a labelled set."""

from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """the labelled set -> embeddings/SET/baselines"""
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np

    from fabnet.attributes.sets import iterate_crops, open_set
    from fabnet.config import VariantParams, load_params
    from fabnet.networks.build import random_encoder
    from fabnet.networks.embed import embed_images
    from fabnet.probing.embeddings import write_embeddings
    from fabnet.probing.features import HOG_DIMENSION, PixelPca, common_scale, hog
    from fabnet.progress import track

    params = load_params()
    labelled = open_set(name, params.labelled_set(name))
    table = labelled.table()
    size, batch = params.extract.size, params.embed.batch_size

    def crops(split: str | None = None) -> Iterator[np.ndarray]:
        return (images for _, images in iterate_crops(labelled, size, batch, split))

    def write(encoder: str, batches: Iterable[np.ndarray], dimension: int) -> None:
        meta = {"encoder": encoder, "set": name, "weights_sha256": None, "recipe_hash": None, "image_size": size}
        progress = track(batches, f"{encoder}@{name}", -(-len(table) // batch), "batch")
        directory = Path("embeddings", name, "baselines", encoder)
        write_embeddings(directory, table["face_id"].tolist(), progress, dimension, len(table), meta)

    write("hog", map(hog, crops()), HOG_DIMENSION)
    pca = PixelPca(crops("train"))
    write("pca", map(pca, crops()), pca.dimension)
    # The network that variants have in common, as it is before training.
    common = VariantParams.model_construct(**params.train.common)
    encoder = random_encoder(size, common.base_filters, common.embedding_dim, common.seed)
    scale = common_scale(embed_images(encoder, crops("train")))
    write("random", (features / scale for features in embed_images(encoder, crops())), common.embedding_dim)


if __name__ == "__main__":
    run(main)
