"""Embeddings in two dimensions."""

import numpy as np
from numpy.typing import NDArray

#: Directions of the embedding that t-SNE starts from.
_DIRECTIONS = 50


def project(unit_ND: NDArray[np.floating], perplexity: float, seed: int) -> NDArray[np.float64] | None:
    """t-SNE (N, 2) of the 50 principal directions of vectors of length 1; None for fewer than 5, which have no map.

    Of vectors of length 1, squared distance is twice what cosine leaves to 1: the map keeps the neighbours of a search.
    The perplexity is at most a third of the faces.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(unit_ND) < 5:
        return None
    directions = min(_DIRECTIONS, *unit_ND.shape)
    reduced = PCA(directions, svd_solver="full", random_state=seed).fit_transform(unit_ND.astype(np.float64))
    tsne = TSNE(2, perplexity=min(perplexity, (len(unit_ND) - 1) / 3), init="pca", random_state=seed, n_jobs=1)
    placed: NDArray[np.float64] = tsne.fit_transform(reduced).astype(np.float64)
    return placed
