"""Nearest neighbours among the test faces of a labelled set: do similar embeddings mean similar faces?"""

from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """embeddings/SET + the labels -> retrieval/sets/SET, reports/retrieval/sets/SET"""
    import sys
    from pathlib import Path

    import numpy as np

    from fabnet import tables
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.errors import UserError
    from fabnet.files import atomic_directory, write_json
    from fabnet.leftovers import check_leftovers
    from fabnet.probing.embeddings import read_embeddings, rows_of
    from fabnet.progress import track
    from fabnet.report.blocks import Gap
    from fabnet.report.drawn_retrieval import draw_maps, draw_rows, shown_encoders
    from fabnet.report.pictures import write_pictures
    from fabnet.report.searched import sample_of_faces, searched_faces
    from fabnet.retrieval.evaluation import Evaluation
    from fabnet.retrieval.tables import neighbours_frame, scores_frame

    params = load_params()
    check_leftovers()
    asked = params.retrieve
    labelled = open_set(name, params.labelled_set(name))
    table = labelled.table()
    faces = searched_faces(table, asked, f"sets.{name}")
    training = table["face_id"][table["split"] == "train"].tolist()
    if asked.centre and not training:
        raise UserError(
            f"sets.{name}: no face is a training face, whose mean retrieve.centre subtracts; set it to false"
        )
    source = Path("embeddings") / name
    encoders = {path.parent.name: path.parent for path in sorted(source.glob("*/*/meta.json"))}
    if not encoders:
        raise UserError(f"{source}: holds no embeddings; run `dvc repro` to make them")
    shown = shown_encoders(asked, list(encoders), params.train.names[0])

    searched = Evaluation(sample_of_faces(faces, asked), asked.k)
    embeddings = {}
    for encoder, directory in track(encoders.items(), f"retrieve@{name}", len(encoders), "encoder"):
        ids, array, _ = read_embeddings(directory)
        vectors = np.asarray(array[rows_of(searched.sample.ids, ids, directory)])
        if asked.centre:
            vectors = vectors - array[rows_of(training, ids, directory)].mean(axis=0)
        searched.add(encoder, vectors)
        if encoder in shown:
            embeddings[encoder] = vectors
    results = searched.results(asked.reference)
    where = Path("reports/retrieval/sets")
    tables.check(scores_frame(results["scores"]), tables.RetrievalScores, f"{where}/{name}.json")

    with atomic_directory(Path("retrieval/sets") / name) as out:
        neighbours = neighbours_frame(searched.sample.ids, {encoder: searched.neighbours[encoder] for encoder in shown})
        tables.write(neighbours, out / "neighbours.parquet", tables.RetrievedFaces)
    rows = faces.assign(row=faces.index).set_index("row")
    with atomic_directory(where / name) as out:
        size = params.extract.image_size
        pictures = [
            *draw_rows(
                out,
                name,
                shown,
                searched,
                lambda some: np.stack([labelled.crop(row, size) for row in rows.iloc[some].itertuples()]),
                asked,
            ),
            *draw_maps(out, name, {encoder: embeddings[encoder] for encoder in shown}, faces, asked),
        ]
        write_pictures(out, pictures)
    write_json(where / f"{name}.json", searched.summary(asked) | results)
    for each in pictures:  # the report shows them as gaps and, once it is written, fails
        if isinstance(each, Gap):
            print(f"warning: not made: {each.what}: {each.why}", file=sys.stderr)


if __name__ == "__main__":
    run(main, one_thread=True)
