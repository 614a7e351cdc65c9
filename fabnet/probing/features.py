"""Features that took no learning from videos: what an embedding has to beat. Crops are uint8 RGB (N, S, S, 3)."""

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from sklearn.decomposition import IncrementalPCA
from torch import nn

from fabnet.errors import UserError
from fabnet.frames.augment import to_float
from fabnet.networks.encoder import Encoder

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


@torch.no_grad()
def calibrate(encoder: Encoder, training_batches: Iterable[np.ndarray]) -> Encoder:
    """Give an untrained encoder the batch-norm statistics of training crops, averaged over batches, and return it.

    Its running statistics would be those of no data at all, so that in evaluation mode a random encoder would be worse
    than it has to be, and no fair baseline. Weights stay as they are.
    """
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    encoder.train()
    batches = 0
    for crops in training_batches:
        encoder(to_float(torch.from_numpy(crops)))
        batches += 1
    if not batches:
        raise UserError("random: the training split is empty; there is nothing to take batch-norm statistics from")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return encoder.eval()


def _pixels(crops: np.ndarray) -> np.ndarray:
    """Float32 (N, 3072) in [0, 1]."""
    return np.stack([_resized(crop, _PCA_SIDE) for crop in crops]).reshape(len(crops), -1).astype(np.float32) / 255


def _resized(crop: np.ndarray, side: int) -> np.ndarray:
    if len(crop) == side:
        return crop
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if len(crop) > side else cv2.INTER_LINEAR)
