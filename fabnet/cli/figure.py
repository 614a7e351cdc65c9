"""`fabnet figure`: figures of what a trained model does."""

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
    from fabnet.inspection.opened import find_heads, open_pool
    from fabnet.inspection.scenes import see
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
