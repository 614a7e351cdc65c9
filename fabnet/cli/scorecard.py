"""`fabnet scorecard`: encoders on one's own videos, without labels."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fabnet.cli.inference import DetectorModel
from fabnet.cli.probe import named, paired_text, score_text
from fabnet.errors import counted

app = typer.Typer()


@app.command()
def scorecard(
    videos: Annotated[Path, typer.Argument(help="Folder of videos, PERSON/**/clip.mp4.")],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]MODEL",
            help="A trained model: models/NAME, or models:/fabnet@champion. Others are compared with the first.",
        ),
    ],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SOURCE",
            help="An encoder of others beside them: timm:NAME, hf:NAME, onnx:FILE, module:PACKAGE.MODULE:FUNCTION or "
            "vgg_face:FILE, as for fabnet probe.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the page and all that it is made of; what it holds already is used.")
    ] = Path("scorecard"),
    by: Annotated[
        Literal["folder", "file"],
        typer.Option(help="Who is a person: each folder directly below VIDEOS, or each file."),
    ] = "folder",
    fps: Annotated[float, typer.Option(help="Sampled frames per second of video.")] = 2.0,
    faces_per_person: Annotated[
        int, typer.Option(min=2, max=1000, help="Faces of a person, evenly spaced over those found.")
    ] = 40,
    faces: Annotated[
        Literal["cropped", "detect"], typer.Option(help="Faces are detected, or videos show one centred face each.")
    ] = "detect",
    margin: Annotated[
        float | None,
        typer.Option(
            help="Fraction of a box's side added on each side. Default: as the first model's, if it learnt from "
            "detected faces; else 0.2."
        ),
    ] = None,
    detector_model: DetectorModel = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read videos; 0: one per core.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of people.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of resamples and splits.")] = 0,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the networks run.")] = "auto",
) -> None:
    """Score models on your own videos, without labels.

    They are scored against what FaceMesh reads of the same frames, on a page with scores and pictures. An interrupted
    run goes on when the command is given again.
    """
    from fabnet.inference.scorecard.make import PAGE, Options, make_scorecard

    options = Options(by, fps, faces_per_person, margin, faces, detector_model, workers, seed, bootstrap)
    made = make_scorecard(videos, [named(each) for each in model], out, options, device, encoder or [])
    whole = made.faces.counts()
    for bad in made.faces.rejected:
        typer.echo(f"{bad.name}: {bad.reason}", err=True)
    for note in [*made.notes, *made.scores.notes]:
        typer.echo(note, err=True)
    typer.echo(
        f"{counted(whole['samples'], 'frame')} of {counted(whole['videos'], 'video')}; no face in "
        f"{whole['without_face']}; of {counted(whole['looked_at'], 'face')} looked at, the teacher is unsure of "
        f"{whole['unsure']}"
    )
    typer.echo(score_text(made.scores.scores["regularised"], made.scores.scored))
    if made.scores.paired:
        typer.echo(
            paired_text(
                made.scores.paired, next(name for name in made.scores.scores["regularised"] if name != "constant")
            )
        )
    typer.echo(f"{out / PAGE}: {counted(whole['people_scored'], 'person', 'people')}")
