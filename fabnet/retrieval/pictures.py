"""Pictures of a search: queries with their neighbours, and maps of the embeddings."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet.config import RetrieveParams
from fabnet.errors import UserError
from fabnet.figures.embedding_map import embedding_map
from fabnet.figures.pictures import Gap, Picture, picture
from fabnet.figures.sheets import retrieval_rows
from fabnet.retrieval.evaluation import Evaluation
from fabnet.retrieval.exact import unit
from fabnet.retrieval.samples import spread

#: Directions of the embedding that t-SNE starts from.
_DIRECTIONS = 50

#: Rows of the gallery to images uint8 (N, H, W, 3).
Crops = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


def shown_encoders(params: RetrieveParams, available: list[str], first: str) -> list[str]:
    """Whose neighbours are shown: `retrieve.shown` or, where that is empty, the first variant and the reference.

    Args:
        params: the section `retrieve`.
        available: encoders with embeddings.
        first: the first variant.

    Raises:
        UserError: `retrieve.shown` names an encoder without embeddings.
    """
    for name in params.shown:
        if name not in available:
            raise UserError(f"params.yaml: retrieve.shown: no embeddings of {name}; there are {', '.join(available)}")
    wanted = params.shown or [name for name in (first, params.reference) if name in available]
    return list(dict.fromkeys(wanted or available[:1]))


def draw_rows(
    out: Path, name: str, encoders: list[str], searched: Evaluation, crops: Crops, params: RetrieveParams
) -> Iterator[Picture | Gap]:
    """A picture for each encoder, of the same queries.

    Queries are of different identities, with yaw spread evenly from left to right or, where yaw is not known, the
    first of the random sample.

    Args:
        out: folder of the PNG files.
        name: of the set, or `frames`.
        encoders: whose neighbours are shown.
        searched: with the neighbours by each of them.
        crops: reads the faces by row.
        params: the section `retrieve`.
    """
    faces, sample = searched.faces, searched.sample
    identity = faces.identity[: sample.queries]
    yaw = faces.angles.get("yaw")
    by = np.arange(sample.queries, dtype=float) if yaw is None else yaw[: sample.queries]
    queries = spread(by, identity, params.rows.queries)
    rule = "taken at random" if yaw is None else "whose yaw lies evenly over that of all queries"
    columns = min(params.rows.neighbours, params.k)

    def drawn(encoder: str) -> Figure:
        found = searched.neighbours[encoder][params.same_identity].rows[queries, :columns]
        rows = [row[row >= 0] for row in found]
        same = [identity[query] == faces.identity[row] for query, row in zip(queries, rows, strict=True)]
        captions = [
            [_caption(searched, face) for face in (query, *row)] for query, row in zip(queries, rows, strict=True)
        ]
        asked = crops(queries)
        images = [crops(row) if len(row) else asked[:0] for row in rows]
        return retrieval_rows(asked, images, same, captions, columns)

    kept = "may be among them" if params.same_identity == "kept" else "are left out"
    for encoder in encoders:
        yield picture(
            out / f"rows_{encoder}.png",
            f"{name}: nearest neighbours by {encoder}",
            f"`{encoder}`: queries, {rule}, one a person, and those with the most similar embeddings. Faces of the "
            f"query's recording do not count; faces of the query's own person {kept}.",
            lambda encoder=encoder: drawn(encoder),  # type: ignore[misc]
            dpi=80,
        )


def draw_maps(
    out: Path, name: str, embeddings: dict[str, NDArray[np.floating]], faces: pd.DataFrame, params: RetrieveParams
) -> Iterator[Picture | Gap]:
    """A map of each encoder's embeddings of the first faces of the random sample.

    Args:
        out: folder of the PNG files.
        name: of the set, or `frames`.
        embeddings: by encoder, (M, D) of `faces`.
        faces: rows of labels, as far as they are known.
        params: the section `retrieve`.
    """
    some = faces.iloc[: params.map.points]

    def drawn(vectors: NDArray[np.floating]) -> Figure:
        places = project(unit(vectors[: len(some)]), params.map.perplexity, params.seed)
        if places is None:
            raise UserError(f"{len(some)} faces are too few for a map")
        return embedding_map(
            places,
            some["yaw_deg"].to_numpy() if "yaw_deg" in some else None,
            some["expression"].tolist() if "expression" in some else None,
            some["identity"].tolist(),
        )

    for encoder, vectors in embeddings.items():
        yield picture(
            out / f"map_{encoder}.png",
            f"{name}: map of the embeddings of {encoder}",
            f"`{encoder}`: t-SNE of the embeddings of {len(some):,} test faces, thrice the same map. What is near "
            "each other has similar embeddings; distances across the map, and its axes, mean nothing.",
            lambda vectors=vectors: drawn(vectors),  # type: ignore[misc]
            dpi=80,
        )


def _caption(searched: Evaluation, face: int) -> str:
    """Yaw and expression, a line each, where they are known."""
    faces, lines = searched.sample.faces, []
    if "yaw" in faces.angles:
        lines.append(f"yaw {round(float(faces.angles['yaw'][face])):+d}°")
    if faces.expression is not None:
        lines.append(searched.sample.expressions[faces.expression[face]])
    return "\n".join(lines)


def project(unit_ND: NDArray[np.floating], perplexity: float, seed: int) -> NDArray[np.float64] | None:
    """t-SNE (N, 2) of the 50 principal directions of vectors of length 1; None for fewer than 5, which have no map.

    Of vectors of length 1, squared distance is twice what cosine leaves to 1: the map keeps the neighbours of a search.
    The perplexity is at most a third of the faces.

    Args:
        unit_ND: vectors of length 1.
        perplexity: of t-SNE: about how many neighbours count.
        seed: of t-SNE.
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
