"""`fabnet check` and `fabnet schema`: the contracts of tables."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A folder of frames, a table of the pipeline, or metrics.json.")],
    splits: Annotated[Path | None, typer.Option(help="For frames: the splits of their identities.")] = None,
) -> None:
    """Check a folder or a table against its contract. Exit 1 if it violates it."""
    from fabnet.quality.check import check as check_path

    result = check_path(path, splits)
    typer.echo(result.text)
    raise typer.Exit(0 if result.legal else 1)


@app.command()
def schema(
    as_json: Annotated[bool, typer.Option("--json", help="Print every contract as JSON.")] = False,
    against: Annotated[
        Path | None, typer.Option(help="Older contracts, from --json: fail if one changed without a new version.")
    ] = None,
) -> None:
    """Print the contracts of tables, or compare with older ones."""
    import json

    from fabnet.quality.schema import export, require_announced

    if not as_json and against is None:
        raise typer.BadParameter("say --json, --against FILE or both")
    if against is not None:
        require_announced(against)
    if as_json:
        typer.echo(json.dumps(export(), indent=2, sort_keys=True))
