"""Search the embeddings of a labelled set, or of frames of test identities, and write and draw what was found."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fabnet import tables
from fabnet.attributes.sets import LabelledSet
from fabnet.config import RetrieveParams
from fabnet.errors import UserError
from fabnet.figures.embedding_map import embedding_map
from fabnet.figures.pictures import Gap, Picture, picture, write_pictures
from fabnet.figures.sheets import retrieval_rows
from fabnet.files import atomic_directory, write_json
from fabnet.frames.store import FrameStore
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.probing.embeddings import encoders_of, read_embeddings, rows_of
from fabnet.progress import track
from fabnet.retrieval.evaluation import Evaluation
from fabnet.retrieval.exact import Neighbours, unit
from fabnet.retrieval.samples import (
    frames_of,
    one_of_each,
    origins,
    sample_of_faces,
    sample_of_frames,
    searched_faces,
    spread,
)

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
    """Pictures of each encoder's neighbours, of the same queries for all.

    Queries are of different identities, with yaw spread evenly from left to right or, where yaw is not known, the
    first of the random sample. Where expressions are known, a second picture has one query of each.

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
    rule = "taken at random" if yaw is None else "whose yaw lies evenly over that of all queries"
    shown = [("rows", "nearest neighbours", rule, spread(by, identity, params.rows.queries))]
    if faces.expression is not None:
        rule = f"the {'first' if yaw is None else 'most frontal'} of each expression"
        queries = one_of_each(faces.expression[: sample.queries], np.abs(by), identity)
        shown.append(("expressions", "nearest neighbours of each expression", rule, queries))
    columns = min(params.rows.neighbours, params.k)

    def drawn(encoder: str, queries: NDArray[np.int64]) -> Figure:
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
    for file, title, rule, queries in shown:
        for encoder in encoders:
            yield picture(
                out / f"{file}_{encoder}.png",
                f"{name}: {title} by {encoder}",
                f"`{encoder}`: queries, {rule}, one a person, and those with the most similar embeddings. Faces of the "
                f"query's recording do not count; faces of the query's own person {kept}.",
                lambda encoder=encoder, queries=queries: drawn(encoder, queries),  # type: ignore[misc]
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


_NEIGHBOURS = "neighbours.parquet"


def retrieve_set(
    labelled: LabelledSet,
    embeddings: Path,
    params: RetrieveParams,
    first: str,
    size: int,
    out: Path,
    reports: Path,
) -> None:
    """Nearest neighbours among the test faces of a labelled set: do similar embeddings mean similar faces?

    Args:
        labelled: the set.
        embeddings: embeddings/SET.
        params: the section `retrieve`.
        first: the variant whose neighbours are shown unless `retrieve.shown` names others.
        size: side in pixels of the crops that are shown.
        out: folder of neighbours.parquet.
        reports: folder of the pictures; the scores become `reports`.json beside it.

    Raises:
        UserError: there are too few test faces, or embeddings are absent or damaged.
    """
    name = labelled.name
    faces = searched_faces(labelled.table(), params, f"sets.{name}")
    encoders = encoders_of(embeddings)
    shown = shown_encoders(params, list(encoders), first)
    searched = Evaluation(sample_of_faces(faces, params), params.k)
    of_shown: dict[str, NDArray[np.floating]] = {}
    for encoder, directory in track(encoders.items(), f"retrieve@{name}", len(encoders), "encoder"):
        ids, array, _ = read_embeddings(directory)
        vectors = np.asarray(array[rows_of(searched.sample.ids, ids, directory)])
        searched.add(encoder, vectors)
        if encoder in shown:
            of_shown[encoder] = vectors
    rows = faces.assign(row=faces.index).set_index("row")

    def crops(some: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([labelled.crop(row, size) for row in rows.iloc[some].itertuples()])

    def draw(folder: Path) -> Iterable[Picture | Gap]:
        yield from draw_rows(folder, name, shown, searched, crops, params)
        yield from draw_maps(folder, name, {encoder: of_shown[encoder] for encoder in shown}, faces, params)

    _write(searched, params, shown, out, reports, draw)


def retrieve_frames(
    store: FrameStore,
    identities: Sequence[str],
    models: Mapping[str, Path],
    params: RetrieveParams,
    batch: int,
    out: Path,
    reports: Path,
) -> None:
    """Nearest neighbours among frames of some identities' videos, as the paper shows them (Fig. 5).

    Args:
        store: the frames.
        identities: those that the models have not learnt from.
        models: by variant, the first one first.
        params: the section `retrieve`.
        batch: frames that are embedded at a time.
        out, reports: as for `retrieve_set`.
    """
    frames = frames_of(store, identities, params.gallery, params.seed)
    if len(frames) <= params.k:  # few videos are no reason to stop what comes after
        why = f"{len(frames)} frames of test identities are too few for {params.k} neighbours of each"
        with atomic_directory(out) as folder:
            tables.write(tables.RetrievedFaces.empty_frame(), folder / _NEIGHBOURS, tables.RetrievedFaces)
        with atomic_directory(reports) as folder:
            write_pictures(folder, [])
        faces = {"gallery": len(frames), "queries": 0}
        write_json(_scores_file(reports), {"faces": faces, "gaps": {"neighbours": why}, "scores": {}})
        return
    named = origins(store, frames)
    ids = [f"{track_id}/{store.frame_no[row]}" for track_id, row in zip(named["track"], frames, strict=True)]
    searched = Evaluation(sample_of_frames(ids, named, params), params.k)
    variants = list(models)
    shown = [name for name in shown_encoders(params, variants, variants[0]) if name in variants]
    for name, path in track(models.items(), "retrieve_frames", len(models), "encoder"):
        model, _ = load_model(path)
        images = (store.decode(frames[first : first + batch]) for first in range(0, len(frames), batch))
        searched.add(name, np.concatenate(list(embed_images(model.encoder, images))))

    def draw(folder: Path) -> Iterable[Picture | Gap]:
        return draw_rows(folder, "frames", shown, searched, lambda some: store.decode(frames[some]), params)

    _write(searched, params, shown, out, reports, draw)


def _write(
    searched: Evaluation,
    params: RetrieveParams,
    shown: Sequence[str],
    out: Path,
    reports: Path,
    draw: Callable[[Path], Iterable[Picture | Gap]],
) -> None:
    """Neighbours of the shown encoders, pictures, and the scores of all."""
    results = searched.results(params.reference)
    scores = _scores_file(reports)
    tables.check(scores_frame(results["scores"]), tables.RetrievalScores, str(scores))
    neighbours = neighbours_frame(searched.sample.ids, {encoder: searched.neighbours[encoder] for encoder in shown})
    with atomic_directory(out) as folder:
        tables.write(neighbours, folder / _NEIGHBOURS, tables.RetrievedFaces)
    with atomic_directory(reports) as folder:
        write_pictures(folder, list(draw(folder)))
    write_json(scores, searched.summary(params) | results)


def _scores_file(reports: Path) -> Path:
    return reports.with_name(f"{reports.name}.json")


def neighbours_frame(ids: Sequence[str], found: Mapping[str, Mapping[str, Neighbours]]) -> pd.DataFrame:
    """Rows of tables.RetrievedFaces.

    Args:
        ids: names of the gallery, whose first faces are the queries.
        found: by encoder and by whether faces of the query's identity count.
    """
    names = np.array(ids, dtype=object)
    parts = []
    for encoder, by_setting in found.items():
        for setting, each in by_setting.items():
            query, rank = np.nonzero(each.rows >= 0)
            part = {
                "query": names[query],
                "rank": rank.astype(np.int64) + 1,
                "neighbour": names[each.rows[query, rank]],
                "similarity": each.similarity[query, rank].astype(np.float64),
            }
            parts.append(pd.DataFrame({"encoder": encoder, "same_identity": setting} | part))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if frame.empty:
        return tables.RetrievedFaces.empty_frame()
    text = ["encoder", "same_identity", "query", "neighbour"]
    return frame.astype(dict.fromkeys(text, "str"))


def scores_frame(scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> pd.DataFrame:
    """{same_identity: {encoder: {metric: score}}} as rows of tables.RetrievalScores."""
    rows = [
        {"same_identity": setting, "encoder": encoder, "metric": metric}
        | {key: score[key] for key in ("value", "low", "high", "n")}
        for setting, encoders in scores.items()
        for encoder, metrics in encoders.items()
        for metric, score in metrics.items()
    ]
    return pd.DataFrame(rows) if rows else tables.RetrievalScores.empty_frame()
