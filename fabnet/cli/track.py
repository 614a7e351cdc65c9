"""`fabnet track`: MLflow runs."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="MLflow runs of DVC stages (docs/registry.md).")


@app.command("sync")
def sync() -> None:
    """Rebuild missing runs from dvc.lock and the outputs.

    Runs of killed processes are closed.
    """
    from fabnet.tracking.sync import sync as sync_runs

    for line in sync_runs().lines():
        typer.echo(line)


@app.command("profile")
def profile(
    uri: Annotated[str, typer.Argument(help="models:/fabnet@champion or models:/fabnet/NUMBER")],
    out: Annotated[
        Path | None, typer.Option(help="The file to write. Default: health/fabnet-NUMBER.profile.json.")
    ] = None,
) -> None:
    """Fetch the profile of a registered model's training data.

    `validate` measures drift against it.
    """
    from fabnet.tracking.registry.versions import fetch_profile

    path = fetch_profile(uri, out)
    typer.echo(f"{path}; to use it: fabnet params set health.profile={path}")
