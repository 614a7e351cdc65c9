"""The `fabnet` command. Heavy imports belong in the bodies of commands, so that `--help` is instant."""

import sys
from typing import Annotated

import typer

from fabnet import __version__
from fabnet.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
params_app = typer.Typer(no_args_is_help=True, help="Read and edit params.yaml, the only place for hyper-parameters.")
app.add_typer(params_app, name="params")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fabnet {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """FAb-Net: a facial attribute embedding learnt from talking-face videos without labels."""


@params_app.command("use")
def params_use(name: Annotated[str, typer.Argument(help="A file of profiles/, without .yaml.")]) -> None:
    """Overlay a profile on params.yaml. `default` restores the committed values."""
    from fabnet import profiles

    profiles.use_profile(name)


@params_app.command("set")
def params_set(
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Dotted keys; values in YAML.")],
) -> None:
    """Set values in params.yaml, all or none, such as `extract.fps=2 train.variants.fabnet.flip=false`."""
    from fabnet import profiles

    profiles.set_values(assignments)


@params_app.command("show")
def params_show(
    section: Annotated[str | None, typer.Argument(help="A section or dotted key; everything by default.")] = None,
) -> None:
    """Print params.yaml or a part of it."""
    from fabnet import profiles

    typer.echo(profiles.show(section), nl=False)


def main() -> None:
    """Run the command; an error meant for people becomes one line and its exit code."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
