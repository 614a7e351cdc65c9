"""The `fabnet` command: a file of this package for each topic.

Heavy imports belong in the bodies of commands, so that `--help` is instant.
"""

from typing import Annotated

import typer

from fabnet import __version__, log
from fabnet.cli import inference, probe, project, registry, scorecard, search, serving, weights
from fabnet.command import run
from fabnet.errors import ConfigError

# Without rich, whose tables cut what does not fit into 80 columns.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
for commands in (inference, probe, scorecard, search, project, registry, serving):
    app.add_typer(commands.app)
app.add_typer(search.index_app, name="index")
app.add_typer(project.params_app, name="params")
app.add_typer(registry.track_app, name="track")
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
