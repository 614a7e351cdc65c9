"""`fabnet params`: read and edit params.yaml."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Read and edit params.yaml, the only place for hyper-parameters.")


@app.command("use")
def use(
    name: Annotated[
        str,
        typer.Argument(help="A file of profiles/, without .yaml; or `default`, the params.yaml of the last commit."),
    ],
) -> None:
    """Overlay a profile on params.yaml. `default` restores the params.yaml of the last commit, as git has it."""
    from fabnet import profiles

    profiles.use_profile(name)


@app.command("set")
def set(
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Dotted keys; values in YAML.")],
) -> None:
    """Set values in params.yaml, all or none.

    Such as `extract.fps=2 train.variants.fabnet.flip=false`.

    Other lines of the file stay as they are.
    """
    from fabnet import profiles

    profiles.set_values(assignments)


@app.command("rounds")
def rounds() -> None:
    """Print the training stages by topological level.

    One line each: stages of a line can run in parallel.

    A stage needs only stages of earlier lines. The last line also has the stages `baseline` and `supervise`, which
    need no trained variant.
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
