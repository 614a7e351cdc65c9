"""`fabnet track`: MLflow runs."""

import typer

app = typer.Typer(no_args_is_help=True, help="MLflow runs of what DVC ran (docs/registry.md).")


@app.callback()
def group() -> None:
    """A group, although it has one command."""


@app.command("sync")
def sync() -> None:
    """Rebuild missing runs from dvc.lock and the outputs, and close the runs of killed processes."""
    from fabnet.tracking.sync import sync as sync_runs

    for line in sync_runs().lines():
        typer.echo(line)
