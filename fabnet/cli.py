"""The `fabnet` command. Heavy imports belong in the bodies of commands, so that `--help` is instant."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fabnet import __version__
from fabnet.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
params_app = typer.Typer(no_args_is_help=True, help="Read and edit params.yaml, the only place for hyper-parameters.")
app.add_typer(params_app, name="params")
track_app = typer.Typer(no_args_is_help=True, help="MLflow runs of what DVC ran (docs/registry.md).")
app.add_typer(track_app, name="track")


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


Faces = Annotated[
    Literal["cropped", "detect"] | None,
    typer.Option(
        help="Inputs show one face each, in the middle; or faces are looked for. Default: as the model learnt."
    ),
]
Margin = Annotated[
    float | None, typer.Option(help="Fraction of a box's side added on each side. Default: as the model learnt.")
]
DetectorModel = Annotated[Path | None, typer.Option(help="ONNX file of YuNet, to look for faces with it.")]


@app.command()
def embed(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Videos, images, or folders of them.")],
    model: Annotated[Path, typer.Option(help="A trained model: models/NAME.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    heads: Annotated[
        Path | None, typer.Option(help="Probes of this model, probes/SET/heads/NAME.npz: adds what they read.")
    ] = None,
    faces: Faces = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of video. Default: as the model's data.")] = None,
    margin: Margin = None,
    detector_model: DetectorModel = None,
    force: Annotated[bool, typer.Option(help="Embed crops of another recipe than the model learnt from.")] = False,
    strict: Annotated[bool, typer.Option(help="Write nothing if any input gives no face.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces that go through the network at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes of this machine, or a cluster, at RAY_ADDRESS.")
    ] = "local",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
) -> None:
    """Embed the faces of videos and images into a table. What was interrupted goes on when given again."""
    from fabnet.inference.embed import embed as write_embeddings
    from fabnet.inference.looking import check_recipe, params_of
    from fabnet.inference.model import choose_device, open_model

    trained = open_model(model)
    params = params_of(
        trained.recipe,
        trained.size,
        faces,
        detector_model,
        fps=fps,
        margin=margin,
        workers=workers,
        engine=engine,
    )
    if not force:
        check_recipe(trained.recipe, params)
    done = write_embeddings(inputs, trained, out, params, heads, batch_size, choose_device(device), strict)
    typer.echo(f"{out}: {done.faces} faces in {done.tracks} tracks of {done.inputs} inputs")
    if done.bad:
        typer.echo(f"{len(done.bad)} inputs gave no rows:", err=True)
        for each in done.bad:
            typer.echo(f"  {each.name}: {each.reason}", err=True)


@app.command()
def preview(
    video: Annotated[str, typer.Argument(help="A video or an image.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write. Default: VIDEO's name with .preview.png.")] = None,
    model: Annotated[Path | None, typer.Option(help="Crop as this trained model learnt: models/NAME.")] = None,
    faces: Faces = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of video. Default: 1, or as the model's.")
    ] = None,
    margin: Margin = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a crop. Default: 64, or as the model's.")] = None,
    recrop: Annotated[
        Literal["none", "authors"] | None, typer.Option(help="authors: cut as FAb-Net's training crops were.")
    ] = None,
    detector_model: DetectorModel = None,
) -> None:
    """Draw a video's frames with the boxes of its tracks, and the crops, on a sheet: what a network will see."""
    from fabnet.figures.save import save
    from fabnet.inference.looking import params_of
    from fabnet.inference.model import open_model
    from fabnet.inference.preview import preview as draw

    trained = None if model is None else open_model(model)
    learnt, side = ({"source": "detected"}, 64) if trained is None else (trained.recipe, trained.size)
    params = params_of(learnt, size or side, faces, detector_model, fps=fps, margin=margin, recrop=recrop)
    drawn = draw(video, params)
    out = out or Path(f"{Path(video).stem}.preview.png")
    save(drawn.sheet, out, dpi=110)
    typer.echo(f"{out}: {drawn.frames} frames, {drawn.tracks} tracks")
    for reject in drawn.rejects:
        typer.echo(f"  rejected: {reject}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A folder of frames, a table of the pipeline, or metrics.json.")],
    splits: Annotated[Path | None, typer.Option(help="For frames: the splits of their identities.")] = None,
) -> None:
    """Does a folder or a table follow its contract? Exit 1 where it does not."""
    from fabnet.quality.check import check as check_path

    result = check_path(path, splits)
    typer.echo(result.text)
    raise typer.Exit(0 if result.legal else 1)


@app.command()
def schema(
    as_json: Annotated[bool, typer.Option("--json", help="Print every contract as JSON.")] = False,
    against: Annotated[
        Path | None, typer.Option(help="Contracts of before, from --json: fail if one changed and its version did not.")
    ] = None,
) -> None:
    """The contracts of the tables between stages, for other tools."""
    import json

    from fabnet.quality.schema import export, require_announced

    if not as_json and against is None:
        raise typer.BadParameter("say --json, --against FILE or both")
    if against is not None:
        require_announced(against)
    if as_json:
        typer.echo(json.dumps(export(), indent=2, sort_keys=True))


Rules = Annotated[Path, typer.Option("--gates", help="The rules.")]
Page = Annotated[Path | None, typer.Option("--markdown", help="Write the table to this file, too.")]


@track_app.command("sync")
def track_sync() -> None:
    """Rebuild missing runs from dvc.lock and the outputs, and close the runs of killed processes."""
    from fabnet.tracking.sync import sync

    for line in sync().lines():
        typer.echo(line)


@app.command()
def gate(
    base: Annotated[str, typer.Option(help="The commit to compare the working tree with.")] = "origin/main",
    rules: Rules = Path("gates.yaml"),
    markdown: Page = None,
) -> None:
    """Is the working tree's model worse than that of a commit? Exit 0 pass, 2 regression, 3 cannot compare."""
    from fabnet.tracking.gate.commits import judge_commits
    from fabnet.tracking.gate.rules import read_gates
    from fabnet.tracking.gate.verdict import report

    raise typer.Exit(report(judge_commits(base, read_gates(rules)), markdown))


@app.command()
def register(
    variant: Annotated[str, typer.Argument(help="A trained variant, models/VARIANT.")],
    probes: Annotated[str | None, typer.Option(help="The labelled set whose probes are served with it.")] = None,
) -> None:
    """Make a trained variant with its probes a version of the registered model: the challenger."""
    from fabnet.tracking.registry.register import register

    typer.echo(register(variant, probes).line())


@app.command()
def promote(
    rules: Rules = Path("gates.yaml"),
    markdown: Page = None,
    uncompared: Annotated[
        bool, typer.Option("--uncompared", help="For a new evaluation set: hold the challenger to the floors alone.")
    ] = False,
) -> None:
    """Make the challenger champion if the gate lets it. Exit 0 pass, 2 regression, 3 cannot compare."""
    from fabnet.tracking.gate.rules import read_gates
    from fabnet.tracking.gate.verdict import report
    from fabnet.tracking.registry.promote import promote

    done = promote(read_gates(rules), uncompared)
    code = report(done.verdict, markdown) if done.verdict else 0
    typer.echo(f"champion: {done.champion}")
    raise typer.Exit(code)


@app.command()
def rollback() -> None:
    """Make the previous champion champion again."""
    from fabnet.tracking.registry.promote import rollback

    typer.echo(f"champion: {rollback()}")


@app.command()
def lineage(uri: Annotated[str, typer.Argument(help="models:/fabnet@champion or models:/fabnet/NUMBER")]) -> None:
    """Print the chain behind a registered model and check each link. Exit 1 where one is broken."""
    from fabnet.tracking.registry.chain import lineage

    links = lineage(uri)
    for link in links:
        typer.echo(link.line())
    raise typer.Exit(int(any(link.broken for link in links)))


def main() -> None:
    """Run the command; an error meant for people becomes one line and its exit code."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
