"""Embeddings of a labelled set: by trained variants, by baselines without training on videos, or made elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fabnet.attributes.sets import LabelledSet, iterate_crops
from fabnet.config import VariantParams
from fabnet.networks.build import load_model, random_encoder
from fabnet.networks.embed import embed_images
from fabnet.probing.embeddings import write_embeddings
from fabnet.probing.features import HOG_DIMENSION, PixelPca, common_scale, hog
from fabnet.probing.origin import require_set
from fabnet.probing.outside import open_outside, write_outside
from fabnet.progress import track

# Weights are set for a trained variant alone: they promise that a model of ours embeds new faces like these.
_NO_MODEL = {"weights_sha256": None, "recipe_hash": None}


@dataclass(frozen=True)
class SetEmbedder:
    """Writes embeddings of all faces of a labelled set.

    Attributes:
        out: folder of the embeddings, a folder per encoder.
        size: side in pixels of the crops, unless another one is asked for.
        batch: crops in a batch.
    """

    labelled: LabelledSet
    out: Path
    size: int
    batch: int

    def crops(self, split: str | None = None, size: int | None = None) -> Iterator[np.ndarray]:
        """Batches of crops, uint8 RGB (N, S, S, 3).

        Args:
            split: whose crops; of all faces where not given.
            size: side S, where it is not the set's.
        """
        return (images for _, images in iterate_crops(self.labelled, size or self.size, self.batch, split))

    def write(self, encoder: str, batches: Iterable[np.ndarray], dimension: int, meta: Mapping[str, Any]) -> None:
        """Write the embeddings of all faces.

        Args:
            encoder: its name.
            batches: float32 (N, dimension), of the batches of `crops()`.
            dimension: of an embedding.
            meta: origin of the embeddings, for meta.json, beside the names of encoder and set.
        """
        ids = self.labelled.table()["face_id"].tolist()
        told = {"encoder": encoder, "set": self.labelled.name, **meta}
        progress = track(batches, f"{encoder}@{self.labelled.name}", -(-len(ids) // self.batch), "batch")
        write_embeddings(self.out / encoder, ids, progress, dimension, len(ids), told)

    def write_baseline(self, encoder: str, batches: Iterable[np.ndarray], dimension: int, **meta: int | str) -> None:
        """`write` of an encoder that is no model of ours.

        Args:
            encoder: its name.
            batches: float32 (N, dimension), of the batches of `crops()`.
            dimension: of an embedding.
            meta: what else meta.json says.
        """
        self.write(encoder, batches, dimension, {**_NO_MODEL, "image_size": self.size, **meta})


def embed_trained(labelled: LabelledSet, models: Mapping[str, Path], batch: int, out: Path) -> None:
    """Embed a labelled set with every trained variant.

    Args:
        labelled: the set.
        models: folders as `train` writes them, by variant.
        batch: crops in a batch.
        out: embeddings/SET/trained.
    """
    for variant, path in models.items():
        model, card = load_model(path)
        embedder = SetEmbedder(labelled, out, card["image_size"], batch)
        meta = {"weights_sha256": card["weights_sha256"], "recipe_hash": card["recipe"]["hash"]}
        embedder.write(variant, embed_images(model.encoder, embedder.crops()), card["embedding_dim"], meta)


def embed_outside(labelled: LabelledSet, files: Mapping[str, Path], out: Path) -> None:
    """Copy embeddings that were made elsewhere.

    Args:
        labelled: the set.
        files: by encoder, in one of the forms of `outside.open_outside`.
        out: embeddings/SET/baselines.

    Raises:
        UserError: a file is absent, damaged, of another set, or lacks a face.
    """
    ids = labelled.table()["face_id"].tolist()
    for encoder, path in files.items():
        with TemporaryDirectory() as scratch:
            outside = open_outside(path, Path(scratch))
            require_set(outside.origin, labelled.name, outside.path)
            meta = {"encoder": encoder, "set": labelled.name, **_NO_MODEL, "origin": outside.origin}
            write_outside(outside, out / encoder, ids, meta)


def embed_features(embedder: SetEmbedder, common: Mapping[str, Any]) -> None:
    """HOG, principal components of pixels, and the encoder before training.

    Args:
        embedder: of the set.
        common: `train.common`: what variants have in common, the untrained encoder too.
    """
    embedder.write_baseline("hog", map(hog, embedder.crops()), HOG_DIMENSION)
    pca = PixelPca(embedder.crops("train"))
    embedder.write_baseline("pca", map(pca, embedder.crops()), pca.dimension)
    network = VariantParams.model_construct(**common)
    encoder = random_encoder(embedder.size, network.base_filters, network.embedding_dim, network.seed)
    scale = common_scale(embed_images(encoder, embedder.crops("train")))
    features = (batch / scale for batch in embed_images(encoder, embedder.crops()))
    embedder.write_baseline("random", features, network.embedding_dim)
