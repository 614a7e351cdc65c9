"""The project on this machine: `fabnet params`, `check`, `schema`, `tidy`, `verify`."""

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


@app.command()
def tidy() -> None:
    """Move files that no stage makes to .work/aside.

    Models of a removed variant, for example, in a folder that stages share.
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
    from fabnet.tracking.verify.compare import read_verify_rules
    from fabnet.tracking.verify.verify import report, verify

    root = project_root()
    found = read_verify_rules(root / "verify.yaml" if rules is None else rules)
    raise typer.Exit(report(verify(root, base, found, data), markdown, json))


params_app = typer.Typer(no_args_is_help=True, help="Read and edit params.yaml, the only place for hyper-parameters.")


@params_app.command("use")
def use(
    name: Annotated[
        str,
        typer.Argument(help="A file of profiles/, without .yaml; or `default`, the params.yaml of the last commit."),
    ],
) -> None:
    """Overlay a profile on params.yaml. `default` restores the params.yaml of the last commit, as git has it."""
    from fabnet import profiles

    profiles.use_profile(name)


@params_app.command("set")
def set_values(
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="Dotted keys; values in YAML.")],
) -> None:
    """Set values in params.yaml, all or none.

    For example `extract.fps=2 train.variants.fabnet.flip=false`.

    Other lines of the file stay as they are.
    """
    from fabnet import profiles

    profiles.set_values(assignments)


@params_app.command("lines")
def lines() -> None:
    """Print the training stages, one line for each core.

    Lines can run at once; the stages of a line one after the other, since each starts from the one before it or from an
    earlier one.

    The stages `baseline` and `supervise`, which need no trained variant, are lines, too.
    """
    from fabnet.config import load_params

    params = load_params()
    for names in params.train.lines():
        typer.echo(" ".join(f"{'finetune' if name in params.train.finetuned else 'train'}@{name}" for name in names))
    for stage in ("baseline", "supervise"):
        for name in params.sets:
            typer.echo(f"{stage}@{name}")


@params_app.command("show")
def show(
    section: Annotated[str | None, typer.Argument(help="A section or dotted key; everything by default.")] = None,
) -> None:
    """Print params.yaml or a part of it."""
    from fabnet import profiles

    typer.echo(profiles.show(section), nl=False)
