"""`fabnet animate`: a picture of a face moved as a video."""

from pathlib import Path
from typing import Annotated

import typer

from fabnet.cli.inference import DetectorModel, Faces, Margin

app = typer.Typer()


@app.command()
def animate(
    source_image: Annotated[str, typer.Argument(help="A picture with the face to move: JPEG or PNG.")],
    driving_video: Annotated[str, typer.Argument(help="A video with the face to move it as.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mp4", help="The video to write, at the driving video's rate.")],
    model: Annotated[
        str, typer.Option(help="A model of objective fabnet: models/NAME, or models:/fabnet@champion.")
    ] = "models/fabnet",
    beside: Annotated[bool, typer.Option(help="Show the driving face on the left of the result.")] = False,
    relative: Annotated[
        bool, typer.Option(help="Move the source as the driving face moves from its first frame on, from its own pose.")
    ] = False,
    size: Annotated[int, typer.Option(help="Side of the result in pixels, even.")] = 256,
    faces: Faces = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Use crops of another recipe than the model learnt from.")] = False,
) -> None:
    """Move the face of a picture as that of a video: the model warps it by the video's embeddings."""
    from fabnet.figures.inside.network import open_fabnet
    from fabnet.inference.animation.animate import animate as write_animation
    from fabnet.inference.looking import check_recipe, params_of
    from fabnet.inference.model import open_model
    from fabnet.inference.registered import find_model

    directory, _ = find_model(model)
    trained = open_model(directory)
    network = open_fabnet(directory)
    params = params_of(trained.recipe, trained.size, faces, detector_model, margin=margin)
    if not force:
        check_recipe(trained.recipe, params)
    done = write_animation(source_image, driving_video, out, network, params, size, beside, relative)
    typer.echo(f"{out}: {done.frames} frames")
    if done.first_held_s is not None:
        typer.echo(done.told(), err=True)
