"""`fabnet params`: read and edit params.yaml."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Read and edit params.yaml, the only place for hyper-parameters.")


@app.command("use")
def use(name: Annotated[str, typer.Argument(help="A file of profiles/, without .yaml.")]) -> None:
    """Overlay a profile on params.yaml. `default` restores the committed values."""
    from fabnet import profiles

    profiles.use_profile(name)


@app.command("set")
def set(
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Dotted keys; values in YAML.")],
) -> None:
    """Set values in params.yaml, all or none, such as `extract.fps=2 train.variants.fabnet.flip=false`."""
    from fabnet import profiles

    profiles.set_values(assignments)


@app.command("show")
def show(
    section: Annotated[str | None, typer.Argument(help="A section or dotted key; everything by default.")] = None,
) -> None:
    """Print params.yaml or a part of it."""
    from fabnet import profiles

    typer.echo(profiles.show(section), nl=False)
