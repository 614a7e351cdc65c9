"""MLflow: `fabnet track`, `gate`, `pictures`, `register`, `promote`, `rollback`, `lineage`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Rules = Annotated[Path, typer.Option("--gates", help="The rules file.")]
Page = Annotated[Path | None, typer.Option("--markdown", help="Also write the table to this file.")]


@app.command()
def gate(
    base: Annotated[str, typer.Option(help="The commit to compare the working tree with.")] = "origin/main",
    rules: Rules = Path("gates.yaml"),
    markdown: Page = None,
) -> None:
    """Is the working tree's model worse than that of a commit?

    Exit 0 pass, 2 regression, 3 cannot compare.
    """
    from fabnet.tracking.gate.commits import judge_commits
    from fabnet.tracking.gate.compare import report
    from fabnet.tracking.gate.rules import read_gates

    raise typer.Exit(report(judge_commits(base, read_gates(rules)), markdown))


@app.command()
def pictures(
    base: Annotated[str, typer.Option(help="The commit to compare the checked-out one with.")] = "origin/main",
    url: Annotated[
        str | None, typer.Option(help="Address of the repository's web pages, to show the pictures.")
    ] = None,
) -> None:
    """Print changed pictures of the report, before and after.

    Those that differ from a commit's, as Markdown.
    """
    from fabnet.tracking.gate.commits import compare_pictures, markdown
    from fabnet.tracking.store import project_root

    typer.echo(markdown(compare_pictures(project_root(), base), url or None))


@app.command()
def register(
    variant: Annotated[str, typer.Argument(help="A trained variant, models/VARIANT.")],
    probes: Annotated[str | None, typer.Option(help="The labelled set whose probes are served with it.")] = None,
) -> None:
    """Register a trained variant with its probes as the challenger."""
    from fabnet.tracking.registry.lifecycle import register

    typer.echo(register(variant, probes).line())


@app.command()
def promote(
    rules: Rules = Path("gates.yaml"),
    markdown: Page = None,
    uncompared: Annotated[
        bool,
        typer.Option("--uncompared", help="For a new evaluation set: check the challenger against the floors only."),
    ] = False,
) -> None:
    """Make the challenger champion if the gate passes. Exit 0 pass, 2 regression, 3 cannot compare."""
    from fabnet.tracking.gate.compare import report
    from fabnet.tracking.gate.rules import read_gates
    from fabnet.tracking.registry.lifecycle import promote

    done = promote(read_gates(rules), uncompared)
    if done.verdict:
        report(done.verdict, markdown)
    typer.echo(f"champion: {done.champion}")
    raise typer.Exit(done.exit_code)


@app.command()
def rollback() -> None:
    """Make the previous champion the champion again."""
    from fabnet.tracking.registry.lifecycle import rollback

    typer.echo(f"champion: {rollback()}")


@app.command()
def lineage(uri: Annotated[str, typer.Argument(help="models:/fabnet@champion or models:/fabnet/NUMBER")]) -> None:
    """Print and verify the lineage of a registered model. Exit 1 if a link is broken."""
    from fabnet.tracking.registry.chain import lineage

    links = lineage(uri)
    for link in links:
        typer.echo(link.line())
    raise typer.Exit(int(any(link.broken for link in links)))


track_app = typer.Typer(no_args_is_help=True, help="MLflow runs of DVC stages (docs/registry.md).")


@track_app.command("sync")
def sync() -> None:
    """Rebuild missing runs from dvc.lock and the outputs.

    Runs of killed processes are closed.
    """
    from fabnet.tracking.sync import sync as sync_runs

    for line in sync_runs().lines():
        typer.echo(line)


@track_app.command("profile")
def fetch_training_profile(
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
