"""A trained model on new videos and images: `fabnet embed`, `convert`, `preview`, `timeline`, `animate`, `figure`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fabnet.errors import counted

app = typer.Typer()

Faces = Annotated[
    Literal["cropped", "detect"] | None,
    typer.Option(help="Inputs show one centred face each, or faces are detected. Default: as in training."),
]
Margin = Annotated[
    float | None, typer.Option(help="Fraction of a box's side added on each side. Default: as in training.")
]
Format = Annotated[
    Literal["parquet", "csv", "openface", "fex"] | None,
    typer.Option(
        help="Of the file; openface: OpenFace 2's CSV, fex: py-feat's. Default: by its name, .csv or Parquet."
    ),
]
DetectorModel = Annotated[Path | None, typer.Option(help="ONNX file of YuNet, for detection.")]


@app.command()
def embed(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Videos, images, or folders of them.")],
    model: Annotated[str, typer.Option(help="A trained model: models/NAME, or models:/fabnet@champion.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    format: Format = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            help="Probes of this model, probes/SET/heads/NAME.npz: adds their predictions. Default: those registered "
            "with it, if --model is a registered one."
        ),
    ] = None,
    faces: Faces = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of video. Default: as in training.")] = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Allow another crop recipe than the model's.")] = False,
    strict: Annotated[bool, typer.Option(help="Fail and write nothing if any input gives no face.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces per batch.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes of this machine, or a cluster, at RAY_ADDRESS.")
    ] = "local",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
) -> None:
    """Embed the faces of videos and images into a table. An interrupted run resumes when the command is given again."""
    from fabnet.inference.embed import embed as write_embeddings
    from fabnet.inference.formats.open import choose_format
    from fabnet.model import load

    chosen = choose_format(out, format)
    trained = load(model, heads, device)
    params = trained.face_params(faces, detector_model, force, fps=fps, margin=margin, workers=workers, engine=engine)
    done = write_embeddings(inputs, trained, out, params, batch_size, strict, chosen)
    typer.echo(
        f"{out}: {counted(done.faces, 'face')} in {counted(done.tracks, 'track')} of {counted(done.inputs, 'input')}"
    )
    if done.bad:
        typer.echo(f"{counted(len(done.bad), 'input')} gave no rows:", err=True)
        for each in done.bad:
            typer.echo(f"  {each.name}: {each.reason}", err=True)


@app.command()
def convert(
    table: Annotated[Path, typer.Argument(help="A Parquet file of `fabnet embed`.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    format: Format = None,
) -> None:
    """Write a table of embeddings in another format."""
    from fabnet.inference.convert import convert as write
    from fabnet.inference.formats.open import choose_format

    typer.echo(f"{out}: {counted(write(table, out, choose_format(out, format)), 'face')}")


@app.command()
def preview(
    video: Annotated[str, typer.Argument(help="A video or an image.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write. Default: VIDEO's name with .preview.png.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Crop as for this model: models/NAME, or models:/fabnet@champion.")
    ] = None,
    faces: Faces = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of video. Default: 1, or as the model's.")
    ] = None,
    margin: Margin = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a crop. Default: 64, or as the model's.")] = None,
    recrop: Annotated[
        Literal["none", "authors"] | None, typer.Option(help="authors: crop as FAb-Net's authors did.")
    ] = None,
    detector_model: DetectorModel = None,
) -> None:
    """Draw a contact sheet of a video.

    The sheet has frames with the boxes of tracks, and the crops that a network will see.
    """
    from fabnet.faces.face_params import params_of
    from fabnet.figures.pictures import save
    from fabnet.inference.preview import preview as draw
    from fabnet.model import load

    trained = None if model is None else load(model, device="cpu")
    crops, side = ({"source": "detected"}, 64) if trained is None else (trained.recipe, trained.size)
    params = params_of(crops, size or side, faces, detector_model, fps=fps, margin=margin, recrop=recrop)
    drawn = draw(video, params)
    out = out or Path(f"{Path(video).stem}.preview.png")
    save(drawn.sheet, out, dpi=110)
    typer.echo(f"{out}: {counted(drawn.frames, 'frame')}, {counted(drawn.tracks, 'track')}")
    for reject in drawn.rejects:
        typer.echo(f"  rejected: {reject}")


@app.command()
def timeline(
    video: Annotated[str, typer.Argument(help="A video.")],
    model: Annotated[str, typer.Option(help="A trained model: models/NAME, or models:/fabnet@champion.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    heads: Annotated[
        Path | None,
        typer.Option(help="Probes of this model, probes/SET/heads/NAME.npz. Default: those registered with it."),
    ] = None,
    fps: Annotated[float, typer.Option(help="Samples per second of video.")] = 5.0,
    faces: Faces = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Allow another crop recipe than the model's.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
) -> None:
    """Draw what is read of a video over time.

    Head pose, mouth, action units and expressions, as one HTML file that needs no network.
    """
    from fabnet.errors import UserError
    from fabnet.files import atomic_file
    from fabnet.inference.timeline import notes, timeline_of, timeline_page
    from fabnet.model import load

    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: --out names the HTML file to write, such as {Path(video).stem}.html")
    trained = load(model, heads, device)
    params = trained.face_params(faces, detector_model, force, fps=fps, margin=margin)
    found = timeline_of(video, trained, params)
    page = timeline_page(found, notes(trained, params))
    with atomic_file(out) as temporary:
        temporary.write_text(page)
    typer.echo(
        f"{out}: {counted(len(found.tracks), 'track')} in {counted(found.samples, 'sample')}, {len(page) / 1e6:.1f} MB"
    )


@app.command()
def animate(
    source_image: Annotated[str, typer.Argument(help="A picture with the face to animate: JPEG or PNG.")],
    driving_video: Annotated[str, typer.Argument(help="A video with the driving face.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mp4", help="The video to write, at the driving video's rate.")],
    model: Annotated[
        str, typer.Option(help="A model of objective fabnet: models/NAME, or models:/fabnet@champion.")
    ] = "models/fabnet",
    beside: Annotated[bool, typer.Option(help="Show the driving face on the left of the result.")] = False,
    relative: Annotated[
        bool, typer.Option(help="Transfer only the change since the first driving frame, from the source's own pose.")
    ] = False,
    size: Annotated[int, typer.Option(help="Side of the result in pixels, even.")] = 256,
    faces: Faces = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Allow another crop recipe than the model's.")] = False,
) -> None:
    """Animate the face of a picture with that of a video.

    The model warps it by the video's embeddings.
    """
    from fabnet.inference.animate import animate as write_animation
    from fabnet.model import load

    trained = load(model, device="cpu")
    network = trained.warping_network()
    params = trained.face_params(faces, detector_model, force, margin=margin)
    done = write_animation(source_image, driving_video, out, network, params, size, beside, relative)
    typer.echo(f"{out}: {counted(done.frames, 'frame')}")
    if done.first_held_s is not None:
        typer.echo(done.warning(), err=True)


@app.command()
def figure(
    name: Annotated[
        Literal["warped", "confidence", "interpolation", "transfer", "curves"],
        typer.Argument(help="What to draw; docs/looking-inside.md shows them."),
    ],
    model: Annotated[str, typer.Option(help="A model of objective fabnet: models/NAME, or models:/fabnet@champion.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    frames: Annotated[Path, typer.Option(help="A folder of frames, as `extract` writes it.")] = Path("data/frames"),
    splits: Annotated[Path, typer.Option(help="The splits: frames of test identities are used.")] = Path(
        "data/splits.parquet"
    ),
    heads: Annotated[
        Path | None,
        typer.Option(
            help="Probes of this model, which select scenes of turned heads and open mouths. Default: "
            "probes/SET/heads/NAME.npz, or those registered, if there are any."
        ),
    ] = None,
    dpi: Annotated[int, typer.Option(min=20, max=600, help="Dots per inch.")] = 110,
) -> None:
    """Draw a figure of a model from frames of test identities."""
    from fabnet.errors import UserError
    from fabnet.figures.pictures import save
    from fabnet.inspection.drawing import DRAWINGS, draw_curves
    from fabnet.inspection.scenes import find_heads, open_pool, see
    from fabnet.model import load

    if out.suffix.lower() != ".png" or out.is_dir():
        raise UserError(f"{out}: the figure is a PNG file; name it {out.stem or name}.png")
    trained = load(model, heads, device="cpu")
    if name == "curves":
        save(draw_curves(trained.path), out, dpi=dpi)
        typer.echo(f"{out}: {name} of {model}")
        return
    network = trained.warping_network()
    if trained.probes is None and trained.path.is_dir():
        trained = load(trained.path, find_heads(trained.path, Path("probes")), device="cpu")
    drawn = DRAWINGS[name](see(open_pool(frames, splits), network, trained.probes))
    save(drawn.figure, out, dpi=dpi)
    typer.echo(f"{out}: {drawn.caption}")
