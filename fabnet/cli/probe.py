"""`fabnet probe`: embeddings made anywhere, scored under the protocol of the pipeline."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def probe(
    embeddings: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]PATH",
            help="A folder with embeddings.npy and ids.parquet, .csv or .txt; an .npy file; or the table of "
            "`fabnet embed`. Several are compared on the same faces.",
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(help="CSV or Parquet: face_id or image; split, identity; labels, as of a set of kind `table`."),
    ],
    out: Annotated[Path | None, typer.Option(help="A new folder for predictions, scores and probes.")] = None,
    ids: Annotated[
        Path | None, typer.Option(help="The rows of .npy files: text, a line each, or a column face_id.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="A column of the labels under another name.")
    ] = None,
    images: Annotated[Path, typer.Option(help="What to put before names of images, where these name faces.")] = Path(
        "."
    ),
    radians: Annotated[bool, typer.Option("--radians", help="Angles of the labels are in radians.")] = False,
    negate: Annotated[list[str] | None, typer.Option(metavar="ANGLE", help="An angle that has the other sign.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Refuse embeddings that models/NAME did not make, of crops as it learnt from.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Refuse embeddings that this file of weights did not make.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare embeddings of different crop recipes.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a labelled face has no embedding.")] = False,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Probes of each task.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Over the training faces.")] = 200,
    batch_size: Annotated[int, typer.Option(min=2, help="Faces of a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="It falls to zero.")] = 0.01,
    bootstrap: Annotated[int, typer.Option(min=100, help="Resamples of people behind an interval.")] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of splits, where there are none, and resamples.")
    ] = 0,
) -> None:
    """Train linear probes on embeddings of any encoder and score them. It needs no images and no project."""
    from tempfile import TemporaryDirectory

    from fabnet.attributes.labels_alone import read_labels
    from fabnet.inference.probing import options
    from fabnet.inference.probing.score import open_all
    from fabnet.inference.probing.score import probe as score_embeddings
    from fabnet.inference.probing.text import paired_text, score_text

    chosen = options.probe_params(seeds=seeds, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    told = options.labels_params(labels, _pairs(column or [], "--column"), images, radians, negate or [], seed)
    with TemporaryDirectory() as scratch:
        opened = open_all([_named(each) for each in embeddings], Path(scratch), ids, force)
        options.require_made_by(opened, model, weights)
        found = score_embeddings(opened, read_labels(told), chosen, options.report_params(bootstrap, seed), out, strict)
    for note in found.notes:
        typer.echo(note, err=True)
    typer.echo(score_text(found.scores["torch"]))
    if found.paired:
        typer.echo(paired_text(found.paired, next(iter(opened))))
    if out is not None:
        typer.echo(f"{out}: predictions.parquet, scores.json")


def _named(text: str) -> tuple[str | None, Path]:
    """NAME=PATH, or a path alone, which may hold a `=` of its own."""
    name, equals, path = text.partition("=")
    if equals and name.replace("_", "a").isalnum() and not Path(text).exists():
        return name, Path(path)
    return None, Path(text)


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise typer.BadParameter(f"{option} wants OURS=THEIRS, not {text}")
        pairs[ours] = theirs
    return pairs
