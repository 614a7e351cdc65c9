"""Embeddings of a labelled set: by trained variants, by baselines without training on videos, or made elsewhere.

The baselines are hand-crafted and untrained features, which an embedding has to beat. Crops are uint8 RGB (N, S, S, 3).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from sklearn.decomposition import IncrementalPCA

from fabnet.attributes.sets import LabelledSet, iterate_crops
from fabnet.config import VariantParams
from fabnet.errors import UserError
from fabnet.networks.build import load_model, random_encoder
from fabnet.networks.encoder import embed_images
from fabnet.probing.embeddings import require_set, write_embeddings
from fabnet.probing.outside import open_outside, write_outside
from fabnet.progress import track

#: Crops are resized to this side for HOG: 7 x 7 blocks of 2 x 2 cells of 8 x 8 pixels, 9 orientations each.
_HOG_SIDE = 64
HOG_DIMENSION = 7 * 7 * 4 * 9

#: Crops are resized to this side for PCA.
_PCA_SIDE = 32
_PCA_COMPONENTS = 256


def hog(crops: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs 2005) of the grey crops: float32 (N, HOG_DIMENSION)."""
    descriptor = cv2.HOGDescriptor((_HOG_SIDE, _HOG_SIDE), (16, 16), (8, 8), (8, 8), 9)
    features = np.empty((len(crops), HOG_DIMENSION), dtype=np.float32)
    for feature, crop in zip(features, crops, strict=True):
        grey = cv2.cvtColor(_resized(crop, _HOG_SIDE), cv2.COLOR_RGB2GRAY)
        feature[:] = np.ravel(descriptor.compute(grey))
    return features


class PixelPca:
    """Principal components of the colours of small crops, fitted batch by batch."""

    def __init__(self, training_batches: Iterable[np.ndarray]) -> None:
        """Fit to the crops of the training split; 256 components, fewer where there are fewer crops."""
        pending: list[np.ndarray] = []
        self._pca: IncrementalPCA | None = None
        for crops in training_batches:
            pending.append(_pixels(crops))
            if sum(map(len, pending)) >= 4 * _PCA_COMPONENTS:
                self._fit(np.concatenate(pending))
                pending = []
        if sum(map(len, pending)) > 1:
            self._fit(np.concatenate(pending))
        if self._pca is None:
            raise UserError("pca: the training split has fewer than 2 faces; there is nothing to fit the components to")
        self._basis: np.ndarray = self._pca.components_.T.astype(np.float32)
        self._origin: np.ndarray = (self._pca.mean_ @ self._pca.components_.T).astype(np.float32)

    @property
    def dimension(self) -> int:
        return self._basis.shape[1]

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Float32 (N, dimension)."""
        return _pixels(crops) @ self._basis - self._origin

    def _fit(self, pixels: np.ndarray) -> None:
        if self._pca is None:
            self._pca = IncrementalPCA(min(_PCA_COMPONENTS, len(pixels) - 1))  # n crops span n - 1 directions
        self._pca.partial_fit(pixels)


def common_scale(batches: Iterable[np.ndarray]) -> float:
    """Root of the mean variance of features, one number for all columns.

    An encoder before training shrinks its input layer by layer, to variances far below the epsilon of batch norm, which
    would silence it in a probe. Divided by this number it is no other encoder, and a fair baseline. Batch-norm
    statistics of real crops would do the same, but made it worse: by 1 to 2 points of ROC AUC and 1 degree of yaw on
    training and validation identities.

    Args:
        batches: features (n, D) of training crops, at least 2 in all.
    """
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for features in batches:
        count += len(features)
        total = total + features.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(features, dtype=np.float64).sum(axis=0)
    if count < 2:
        raise UserError("random: the training split has fewer than 2 faces; there is nothing to scale its features by")
    return float(np.sqrt((squares / count - (total / count) ** 2).mean()))


def _pixels(crops: np.ndarray) -> np.ndarray:
    """Float32 (N, 3072) in [0, 1]."""
    return np.stack([_resized(crop, _PCA_SIDE) for crop in crops]).reshape(len(crops), -1).astype(np.float32) / 255


def _resized(crop: np.ndarray, side: int) -> np.ndarray:
    if len(crop) == side:
        return crop
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if len(crop) > side else cv2.INTER_LINEAR)


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
        """Batches of crops, uint8 RGB (N, S, S, 3), of one split or of all faces.

        Args:
            split: of the faces; None takes all.
            size: side in pixels; None takes the embedder's.
        """
        return (images for _, images in iterate_crops(self.labelled, size or self.size, self.batch, split))

    def write(self, encoder: str, batches: Iterable[np.ndarray], dimension: int, meta: Mapping[str, Any]) -> None:
        """Write the embeddings of all faces.

        Args:
            encoder: its name, and that of the folder.
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
            meta: what meta.json says besides.
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
        files: by encoder, in one of the forms of `open_outside`.
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
