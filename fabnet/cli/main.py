"""The `fabnet` command: a file of this package for each group of commands.

Heavy imports belong in the bodies of commands, so that `--help` is instant.
"""

from typing import Annotated

import typer

from fabnet import __version__, log
from fabnet.cli import (
    animate,
    data,
    figure,
    index,
    inference,
    params,
    pipeline,
    probe,
    registry,
    search,
    serve,
    timeline,
    track,
    weights,
)
from fabnet.cli import app as page
from fabnet.command import run
from fabnet.errors import ConfigError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for commands in (inference, timeline, animate, figure, probe, search, data, pipeline, registry, serve, page):
    app.add_typer(commands.app)
app.add_typer(index.app, name="index")
app.add_typer(params.app, name="params")
app.add_typer(track.app, name="track")
app.add_typer(weights.app, name="weights")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fabnet {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log files as they are written, and tracebacks of errors.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log warnings and errors only, and no progress.")
    ] = False,
) -> None:
    """FAb-Net: a facial attribute embedding learnt from talking-face videos without labels.

    Without -v or -q, the environment variable FABNET_LOG (debug, info, warning, error) sets the log level.
    """
    if verbose and quiet:
        raise ConfigError("-v and -q: give one of them")
    if verbose or quiet:
        log.set_up("debug" if verbose else "warning")


def main() -> None:
    """Run the command that the command line asks for."""
    run(app)


if __name__ == "__main__":
    main()
