"""`fabnet embed` and `fabnet preview`: a trained model and people's own videos."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()

Faces = Annotated[
    Literal["cropped", "detect"] | None,
    typer.Option(
        help="Inputs show one face each, in the middle; or faces are looked for. Default: as the model learnt."
    ),
]
Margin = Annotated[
    float | None, typer.Option(help="Fraction of a box's side added on each side. Default: as the model learnt.")
]
DetectorModel = Annotated[Path | None, typer.Option(help="ONNX file of YuNet, to look for faces with it.")]


@app.command()
def embed(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Videos, images, or folders of them.")],
    model: Annotated[str, typer.Option(help="A trained model: models/NAME, or models:/fabnet@champion.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    heads: Annotated[
        Path | None,
        typer.Option(
            help="Probes of this model, probes/SET/heads/NAME.npz: adds what they read. Default: those registered with "
            "it, where --model is a registered one."
        ),
    ] = None,
    faces: Faces = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of video. Default: as the model's data.")] = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Embed crops of another recipe than the model learnt from.")] = False,
    strict: Annotated[bool, typer.Option(help="Write nothing if any input gives no face.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces that go through the network at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes of this machine, or a cluster, at RAY_ADDRESS.")
    ] = "local",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
) -> None:
    """Embed the faces of videos and images into a table. What was interrupted goes on when given again."""
    from fabnet.inference.embed import embed as write_embeddings
    from fabnet.inference.looking import check_recipe, params_of
    from fabnet.inference.model import choose_device, open_model
    from fabnet.inference.registered import find_model

    directory, registered = find_model(model)
    trained = open_model(directory)
    params = params_of(
        trained.recipe,
        trained.size,
        faces,
        detector_model,
        fps=fps,
        margin=margin,
        workers=workers,
        engine=engine,
    )
    if not force:
        check_recipe(trained.recipe, params)
    done = write_embeddings(
        inputs, trained, out, params, heads or registered, batch_size, choose_device(device), strict
    )
    typer.echo(f"{out}: {done.faces} faces in {done.tracks} tracks of {done.inputs} inputs")
    if done.bad:
        typer.echo(f"{len(done.bad)} inputs gave no rows:", err=True)
        for each in done.bad:
            typer.echo(f"  {each.name}: {each.reason}", err=True)


@app.command()
def preview(
    video: Annotated[str, typer.Argument(help="A video or an image.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write. Default: VIDEO's name with .preview.png.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Crop as this model learnt: models/NAME, or models:/fabnet@champion.")
    ] = None,
    faces: Faces = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of video. Default: 1, or as the model's.")
    ] = None,
    margin: Margin = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a crop. Default: 64, or as the model's.")] = None,
    recrop: Annotated[
        Literal["none", "authors"] | None, typer.Option(help="authors: cut as FAb-Net's training crops were.")
    ] = None,
    detector_model: DetectorModel = None,
) -> None:
    """Draw a video's frames with the boxes of its tracks, and the crops, on a sheet: what a network will see."""
    from fabnet.figures.save import save
    from fabnet.inference.looking import params_of
    from fabnet.inference.model import open_model
    from fabnet.inference.preview import preview as draw
    from fabnet.inference.registered import find_model

    trained = None if model is None else open_model(find_model(model)[0])
    learnt, side = ({"source": "detected"}, 64) if trained is None else (trained.recipe, trained.size)
    params = params_of(learnt, size or side, faces, detector_model, fps=fps, margin=margin, recrop=recrop)
    drawn = draw(video, params)
    out = out or Path(f"{Path(video).stem}.preview.png")
    save(drawn.sheet, out, dpi=110)
    typer.echo(f"{out}: {drawn.frames} frames, {drawn.tracks} tracks")
    for reject in drawn.rejects:
        typer.echo(f"  rejected: {reject}")
