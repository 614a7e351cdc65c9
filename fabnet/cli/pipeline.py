"""The pipeline as a whole: `fabnet tidy`, `verify`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def tidy() -> None:
    """Move files that no stage makes to .work/aside.

    Such as a removed variant's models in a folder that stages share.
    """
    from fabnet.leftovers import move_aside
    from fabnet.tracking.store import project_root

    root = project_root()
    for path, target in move_aside(root):
        typer.echo(f"{path}: no stage makes it; moved to {target.relative_to(root)}")


@app.command()
def verify(
    base: Annotated[str, typer.Option(help="The commit to compare with.")] = "HEAD",
    rules: Annotated[Path | None, typer.Option(help="Tolerances. Default: verify.yaml of the project.")] = None,
    data: Annotated[bool, typer.Option("--data", help="Only what must be byte-identical, no scores.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file, too.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all of it to this file, in full precision.")] = None,
) -> None:
    """Did this machine reproduce a commit?

    Exit 0 yes, 2 no, 3 cannot compare, as where a stage has not run.
    """
    from fabnet.tracking.store import project_root
    from fabnet.tracking.verify.rules import read_verify_rules
    from fabnet.tracking.verify.verify import report, verify

    root = project_root()
    found = read_verify_rules(root / "verify.yaml" if rules is None else rules)
    raise typer.Exit(report(verify(root, base, found, data), markdown, json))
