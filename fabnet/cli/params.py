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


@app.command("rounds")
def rounds() -> None:
    """Print the stages that are trained, a line each round: those of a line may run side by side.

    With the last round go the stages that learn from labelled sets and need no variant.
    """
    from fabnet.config import load_params

    params = load_params()
    *before, last = [
        [f"{'finetune' if name in params.train.finetuned else 'train'}@{name}" for name in names]
        for names in params.train.rounds()
    ]
    last += [f"{stage}@{name}" for stage in ("baseline", "supervise") for name in params.sets]
    for stages in (*before, last):
        typer.echo(" ".join(stages))


@app.command("show")
def show(
    section: Annotated[str | None, typer.Argument(help="A section or dotted key; everything by default.")] = None,
) -> None:
    """Print params.yaml or a part of it."""
    from fabnet import profiles

    typer.echo(profiles.show(section), nl=False)
