"""`fabnet timeline`: what a model reads of the faces of a video over time, as a page."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fabnet.cli.inference import DetectorModel, Faces, Margin

app = typer.Typer()


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
    """Draw head pose, mouth, action units and expressions of a video over time: one HTML file that needs no network."""
    from fabnet.errors import UserError
    from fabnet.files import atomic_file
    from fabnet.inference.timeline.gather import timeline_of
    from fabnet.inference.timeline.page import notes, timeline_page
    from fabnet.model import load

    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: --out names the HTML file to write, such as {Path(video).stem}.html")
    trained = load(model, heads, device)
    params = trained.face_params(faces, detector_model, force, fps=fps, margin=margin)
    found = timeline_of(video, trained, params)
    page = timeline_page(found, notes(trained, params))
    with atomic_file(out) as temporary:
        temporary.write_text(page)
    typer.echo(f"{out}: {len(found.tracks)} tracks in {found.samples} samples, {len(page) / 1e6:.1f} MB")
