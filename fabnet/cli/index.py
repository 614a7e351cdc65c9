"""`fabnet index`: searchable indexes of embeddings."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Indexes of embeddings, for `fabnet search`.")


@app.command()
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


@app.command()
def check(index: Annotated[Path, typer.Argument(help="An index.")]) -> None:
    """Verify the files of an index against their hashes."""
    from fabnet.retrieval.index import read_index

    found = read_index(index, whole=True)
    origin = ", ".join(f"{key} {value[:16]}" for key, value in sorted(found.origin.items()))
    typer.echo(
        f"{index}: whole; {len(found.vectors)} embeddings of {found.about['source']} ({origin or 'origin unknown'})"
    )
