"""Nearest neighbours: `fabnet search`, and `fabnet index` for what it searches."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fabnet.cli.inference import DetectorModel, Faces, Margin
from fabnet.errors import counted

app = typer.Typer()

Keep = Literal["keep", "leave-out"]


@app.command()
def search(
    index: Annotated[Path, typer.Option(help="An index, as `fabnet index build` writes it.")],
    query: Annotated[list[str], typer.Option(help="An image, a video, or an id of the index; may be repeated.")],
    out: Annotated[Path, typer.Option(help="A page (.html) or a table (.parquet) to write.")],
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours per query.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="The model that made the embeddings, to embed an image or video: models/NAME.")
    ] = None,
    same_track: Annotated[Keep, typer.Option(help="Rows of the query's track, where it is known.")] = "leave-out",
    same_video: Annotated[Keep, typer.Option(help="Rows of the query's video, where it is known.")] = "leave-out",
    same_identity: Annotated[Keep, typer.Option(help="Rows of the query's identity, where it is known.")] = "keep",
    ann: Annotated[bool, typer.Option("--ann", help="Search the faiss index, and measure its recall.")] = False,
    recall_sample: Annotated[int, typer.Option(min=1, help="Vectors of the index to measure recall on.")] = 100,
    each_frame: Annotated[
        bool, typer.Option("--each-frame", help="Every frame of a video is a query, not the mean of each track.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images and videos that the index names, or tar of images, for the page."),
    ] = None,
    frames: Annotated[Path | None, typer.Option(help="Folder of track shards, data/frames, for the page.")] = None,
    faces: Faces = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Allow another crop recipe than the index's.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
) -> None:
    """Find the faces of an index most similar to given ones.

    Given are images, videos, or ids of the index.
    """
    if out.suffix not in (".html", ".parquet"):
        raise typer.BadParameter(f"{out}: ends in neither .html nor .parquet", param_hint="--out")
    import numpy as np

    from fabnet import tables
    from fabnet.errors import UserError
    from fabnet.files import atomic_file
    from fabnet.inference.search import Query, Thumbnails, answer, check_model, of_file, of_index, page
    from fabnet.model import Model, load
    from fabnet.retrieval.index import read_index

    found = read_index(index)
    kept = {"track": same_track, "video": same_video, "identity": same_identity}
    queries: list[Query] = []
    trained: Model | None = None
    for one in dict.fromkeys(query):
        # Ids come before files of the same name: a row of the index needs neither model nor detector.
        own = of_index(found, one)
        if own is not None:
            queries.append(own)
            continue
        if not one or not Path(one).exists():
            raise UserError(f"--query {one}: neither a file nor an id of {index}")
        if model is None:
            raise UserError(f"--query {one}: an image or video needs --model, the one that made the index")
        trained = trained or load(model, device=device)
        # Forced, since the recipe that counts is the index's, with which `check_model` compares.
        params = trained.face_params(faces, detector_model, force=True, margin=margin)
        check_model(found, trained, params, force)
        queries += of_file(one, trained, params, each_frame)
    left_out = [name for name, choice in kept.items() if choice == "leave-out"]
    answered = answer(found, queries, k, left_out, ann, recall_sample)
    said = f"{counted(len(queries), 'query', 'queries')}, {counted(len(found.vectors), 'row')}"
    if left_out:
        said += f", the query's {', '.join(left_out)} left out"
    if answered.recall is not None:
        said += f"; {found.about['ann']['kind']}, recall@{k} {answered.recall[0]:.3f} on {answered.recall[1]} vectors"
    if out.suffix == ".parquet":
        tables.write(answered.table, out, tables.Neighbours)
    else:
        shown = {*answered.rows.tolist(), *(one.row for one in queries if one.row >= 0)}
        rows = found.take(np.array(sorted(shown), dtype=np.int64))
        with Thumbnails(rows, images, frames) as pictures, atomic_file(out) as temporary:
            temporary.write_text(page(answered, queries, pictures.jpeg, f"{index}: {said}."))
    typer.echo(f"{out}: {said}")
    if answered.missing:
        typer.echo(
            f"{counted(answered.missing, 'neighbour')} fewer than asked for: too few rows were not left out", err=True
        )


index_app = typer.Typer(no_args_is_help=True, help="Indexes of embeddings, for `fabnet search`.")


@index_app.command()
def build(
    embeddings: Annotated[
        Path,
        typer.Argument(help="A folder embeddings/SET/KIND/NAME, a Parquet table of `fabnet embed`, or an .npy file."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write. Default: EMBEDDINGS' name with .index.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="The ids of the rows of an .npy file. Default: the file beside it.")
    ] = None,
    about: Annotated[
        Path | None,
        typer.Option(
            help="A table, Parquet or CSV, with a column id or face_id and any of video, track, identity, time_s, "
            "image, left, top, right, bottom, such as a set's labels.parquet."
        ),
    ] = None,
    half: Annotated[bool, typer.Option(help="Store float16: half the space, cosines accurate to about 0.001.")] = False,
    ann: Annotated[
        Literal["hnsw", "ivf"] | None, typer.Option(help="Add a faiss index for approximate search.")
    ] = None,
) -> None:
    """Build an index of embeddings; it is written atomically."""
    from fabnet.inference.build_index import build_index
    from fabnet.retrieval.ann import builder

    built = build_index(
        embeddings,
        out or embeddings.with_name(f"{embeddings.name.removesuffix('.parquet').removesuffix('.npy')}.index"),
        ids,
        about,
        half,
        None if ann is None else builder(ann),
    )
    count, dimension = built.vectors.shape
    size = sum(said["bytes"] for said in built.about["files"].values())
    typer.echo(
        f"{built.directory}: {count} {dimension}-d embeddings, {built.about['dtype']}, {size / 1e6:.1f} MB"
        + (f", with {ann}" if ann else "")
    )


@index_app.command()
def check(index: Annotated[Path, typer.Argument(help="An index.")]) -> None:
    """Verify the files of an index against their hashes."""
    from fabnet.retrieval.index import read_index

    found = read_index(index, whole=True)
    origin = ", ".join(f"{key} {value[:16]}" for key, value in sorted(found.origin.items()))
    typer.echo(
        f"{index}: whole; {counted(len(found.vectors), 'embedding')} of {found.about['source']} "
        f"({origin or 'origin unknown'})"
    )
