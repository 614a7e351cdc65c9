"""The pipeline as a whole: `fabnet tidy`."""

import typer

app = typer.Typer()


@app.command()
def tidy() -> None:
    """Move what no stage makes, such as a removed variant's models, out of the folders that stages fill together."""
    from fabnet.leftovers import move_aside
    from fabnet.tracking.store import project_root

    root = project_root()
    for path, target in move_aside(root):
        typer.echo(f"{path}: no stage makes it; moved to {target.relative_to(root)}")
