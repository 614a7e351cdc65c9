"""`fabnet figure`: pictures of what goes on inside a trained model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()


@app.command()
def figure(
    name: Annotated[
        Literal["warped", "confidence", "interpolation", "transfer", "curves"],
        typer.Argument(help="What to draw; docs/looking-inside.md shows them."),
    ],
    model: Annotated[str, typer.Option(help="A model of objective fabnet: models/NAME, or models:/fabnet@champion.")],
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    frames: Annotated[Path, typer.Option(help="A folder of frames, as `extract` writes it.")] = Path("data/frames"),
    splits: Annotated[Path, typer.Option(help="Whose frames the model has not learnt from.")] = Path(
        "data/splits.parquet"
    ),
    heads: Annotated[
        Path | None,
        typer.Option(
            help="Probes of this model, by which scenes of turned heads and open mouths are found. Default: "
            "probes/SET/heads/NAME.npz, or those registered, if there are any."
        ),
    ] = None,
    dpi: Annotated[int, typer.Option(min=20, max=600, help="Dots per inch.")] = 110,
) -> None:
    """Draw a figure of a model from frames of test identities."""
    from fabnet.errors import UserError
    from fabnet.figures.save import save
    from fabnet.inference.registered import find_model

    if out.suffix.lower() != ".png" or out.is_dir():
        raise UserError(f"{out}: the figure is a PNG file; name it {out.stem or name}.png")
    directory, registered = find_model(model)
    if name == "curves":
        from fabnet.figures.inside.training import draw_curves

        save(draw_curves(directory), out, dpi=dpi)
        typer.echo(f"{out}: {name} of {model}")
        return

    from fabnet.figures.inside.drawing import DRAWINGS
    from fabnet.figures.inside.network import open_fabnet
    from fabnet.figures.inside.opened import find_heads, open_pool, open_seen

    open_fabnet(directory)  # a model that cannot be drawn is told before frames are read
    drawn = DRAWINGS[name](
        open_seen(directory, open_pool(frames, splits), heads or registered or find_heads(directory, Path("probes")))
    )
    save(drawn.figure, out, dpi=dpi)
    typer.echo(f"{out}: {drawn.caption}")
