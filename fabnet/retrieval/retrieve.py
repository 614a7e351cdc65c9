"""Search the embeddings of a labelled set, or of frames of test identities, and write what was found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fabnet import tables
from fabnet.attributes.sets import LabelledSet
from fabnet.config import RetrieveParams
from fabnet.figures.pictures import Gap, Picture, write_pictures
from fabnet.files import atomic_directory, write_json
from fabnet.frames.store import FrameStore
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.probing.embeddings import encoders_of, read_embeddings, rows_of
from fabnet.progress import track
from fabnet.retrieval.evaluation import Evaluation
from fabnet.retrieval.exact import Neighbours
from fabnet.retrieval.pictures import draw_maps, draw_rows, shown_encoders
from fabnet.retrieval.samples import frames_of, origins, sample_of_faces, sample_of_frames, searched_faces

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
