"""Standardised training features of a regularised linear probe, with the spectrum of their Gram matrix.

Shape suffixes: N training faces, D features, d working coordinates, K outputs.

An L2 penalty does not change under rotation, and its solution lies in the span of the training faces. So there are
never more than min(N, D) unknowns: with fewer features than faces, the working coordinates are the standardised
features; with more, they are the faces' coordinates in their own span, which the N x N matrix of their inner products
gives (the dual, or kernel, form). One eigendecomposition per split serves ridge regression for every penalty and
conditions the Newton steps of logistic regression. Features are read some rows at a time and Gram matrices are summed
in float64, so that memory does not grow with N.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fabnet.probing.embeddings import rows_of_features

#: Features with less variance than this share of the largest are left out: standardising would blow up what little
#: they say, which is rounding.
_LEAST_VARIANCE = 1e-8
#: Directions with less than this share of the largest eigenvalue are not in the span of the faces but rounding.
_LEAST_EIGENVALUE = 1e-10
#: Numbers of a block of rows.
_BLOCK = 1 << 22
#: Standardised features that are kept, in bytes; more are standardised again whenever they are needed.
_KEPT = 256 << 20


@dataclass(frozen=True)
class Design:
    """The training faces of a probe. Build one with `Design.of`.

    Attributes:
        features: float32, of all faces of the set; may be memory-mapped.
        rows: int64 (N,), the training faces.
        columns: int64, the features that vary among them.
        mean, deviation: float64 (D,), of those columns over the training faces.
        basis: float64 (D, d), the working coordinates in standardised features; None where they are the same.
        vectors: float64 (d, d), eigenvectors, as columns, of the Gram matrix of the working coordinates.
        spectrum: float64 (d,), its eigenvalues.
    """

    features: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    basis: np.ndarray | None
    vectors: np.ndarray
    spectrum: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, rows: np.ndarray) -> "Design":
        """Standardise by the mean and deviation over `rows`, and decompose the smaller of the two Gram matrices.

        Args:
            features: float32 (faces, D); may be memory-mapped.
            rows: the N training faces, at least 2.
        """
        count, width = len(rows), features.shape[1]
        mean = sum((block.sum(axis=0) for block in _blocks(features, rows)), np.zeros(width)) / count
        squares = (np.square(block - mean).sum(axis=0) for block in _blocks(features, rows))
        variance = sum(squares, np.zeros(width)) / count
        columns = np.flatnonzero(variance > _LEAST_VARIANCE * variance.max())
        mean, deviation = mean[columns], np.sqrt(variance[columns])
        if not len(columns):
            nothing = np.zeros((0, 0))
            return cls(features, rows, columns, mean, deviation, None, nothing, np.zeros(0))
        if len(columns) < count:
            gram = np.zeros((len(columns), len(columns)))
            for block in _blocks(features, rows):
                x = (block[:, columns] - mean) / deviation
                gram += x.T @ x
            spectrum, vectors = np.linalg.eigh(gram)
            return cls(features, rows, columns, mean, deviation, None, vectors, np.maximum(spectrum, 0))
        x = (np.asarray(features[rows], dtype=np.float64)[:, columns] - mean) / deviation
        spectrum, left = np.linalg.eigh(x @ x.T)
        inside = spectrum > _LEAST_EIGENVALUE * spectrum[-1]
        spectrum, left = spectrum[inside], left[:, inside]
        basis = x.T @ (left / np.sqrt(spectrum))
        return cls(features, rows, columns, mean, deviation, basis, np.eye(len(spectrum)), spectrum)

    @property
    def unknowns(self) -> int:
        return len(self.spectrum)

    def times(self, weights: np.ndarray) -> np.ndarray:
        """The training faces' coordinates times weights (d, K): float32 (N, K)."""
        right = weights.astype(np.float32)
        return np.concatenate([x @ right for _, x in self._coordinates()])

    def transposed_times(self, values: np.ndarray) -> np.ndarray:
        """Transposed coordinates times values (N, K) of the training faces: float64 (d, K)."""
        right = values.astype(np.float32)
        product = np.zeros((self.unknowns, values.shape[1]))
        for at, x in self._coordinates():
            product += x.T @ right[at]
        return product

    def in_features(self, weights: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same map on features as they are: float32 weight (K, features) and bias (K,).

        Args:
            weights: (d, K), on the working coordinates.
            intercepts: (K,).
        """
        standard = weights if self.basis is None else self.basis @ weights
        weight = np.zeros((len(intercepts), self.features.shape[1]))
        weight[:, self.columns] = (standard / self.deviation[:, None]).T
        bias = intercepts - weight[:, self.columns] @ self.mean
        return weight.astype(np.float32), bias.astype(np.float32)

    def _coordinates(self) -> Iterator[tuple[slice, np.ndarray]]:
        if self._kept is not None:
            yield slice(0, len(self.rows)), self._kept
            return
        mean, deviation = self.mean.astype(np.float32), self.deviation.astype(np.float32)
        for at in _places(self.rows, self.features.shape[1]):
            # In float32 throughout: every step of a solver reads all faces.
            x = (rows_of_features(self.features, self.rows[at])[:, self.columns] - mean) / deviation
            yield at, x if self.basis is None else x @ self.basis.astype(np.float32)

    @cached_property
    def _kept(self) -> np.ndarray | None:
        """All coordinates, float32 (N, d), where they are few enough."""
        if 4 * len(self.rows) * self.unknowns > _KEPT:
            return None
        parts = []
        for block in _blocks(self.features, self.rows):
            x = (block[:, self.columns] - self.mean) / self.deviation
            parts.append((x if self.basis is None else x @ self.basis).astype(np.float32))
        return np.concatenate(parts)


def _blocks(features: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of features as float64, some at a time."""
    for at in _places(rows, features.shape[1]):
        yield rows_of_features(features, rows[at]).astype(np.float64)


def _places(rows: np.ndarray, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // width)
    return (slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step))
