"""`fabnet animate`: a picture of a face, driven by a video."""

from pathlib import Path
from typing import Annotated

import typer

from fabnet.cli.inference import DetectorModel, Faces, Margin

app = typer.Typer()


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
    typer.echo(f"{out}: {done.frames} frames")
    if done.first_held_s is not None:
        typer.echo(done.warning(), err=True)
