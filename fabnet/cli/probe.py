"""`fabnet probe`: embeddings made anywhere, scored under the protocol of the pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()

#: What metrics of metrics.json are called, in their order; those that end in ▲ are better when higher.
TITLES = {
    "yaw_mae_deg": "yaw, ° ▼",
    "pitch_mae_deg": "pitch, ° ▼",
    "roll_mae_deg": "roll, ° ▼",
    "pose_mae_deg": "pose, ° ▼",
    "landmarks68_nme_pct": "68 landmarks, % ▼",
    "landmarks5_nme_pct": "5 landmarks, % ▼",
    "mouth_mae_pct": "mouth's opening, % ▼",
    "units_auc": "action units, AUC ▲",
    "expression_auc": "expression, AUC ▲",
}


@app.command()
def probe(
    labels: Annotated[
        Path,
        typer.Option(help="CSV or Parquet: face_id or image; split, identity; labels, as in a set of kind `table`."),
    ],
    embeddings: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="A folder with embeddings.npy and ids.parquet, .csv or .txt; an .npy file; or the table of "
            "`fabnet embed`. Several are compared on the same faces.",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]SOURCE",
            help="An encoder that embeds the images first: timm:NAME, hf:NAME, onnx:FILE, "
            "module:PACKAGE.MODULE:FUNCTION, fabnet:MODEL or vgg_face:FILE; or NAME={source: ..., saw: images, ...}, "
            "with the keys of `encoders` in params.yaml.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for predictions, scores and probes.")] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="Ids of the rows of .npy files: text, one per line, or a table with a column face_id."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="Rename a column of the labels.")
    ] = None,
    images: Annotated[
        Path,
        typer.Option(help="Folder of the images; as `fabnet embed` was given it, where images name faces."),
    ] = Path("."),
    kept: Annotated[
        Path, typer.Option(help="Folder where embeddings of --encoder are kept, so that a second run makes none again.")
    ] = Path(".work/embeddings"),
    radians: Annotated[bool, typer.Option("--radians", help="Angles of the labels are in radians.")] = False,
    negate: Annotated[list[str] | None, typer.Option(metavar="ANGLE", help="An angle with the opposite sign.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Refuse embeddings not made by models/NAME from crops of its recipe.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Refuse embeddings not made by this weights file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare embeddings of different crop recipes.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a labelled face has no embedding.")] = False,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds of the paper's probe per task.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the paper's probe.")] = 200,
    batch_size: Annotated[int, typer.Option(min=2, help="Faces per step of the paper's probe.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="First learning rate of the paper's probe.")] = 0.01,
    folds_below: Annotated[
        int, typer.Option(min=0, help="Score sets of fewer faces by cross-validation over identities; 0: never.")
    ] = 2000,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of identities.")] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of splits (where labels have none) and resamples.")
    ] = 0,
) -> None:
    """Train linear probes on any encoder's embeddings and score them.

    It needs no project, and no images where the embeddings are there already. The first of several encoders, embeddings
    before encoders, is the one that the others are compared with.
    """
    from tempfile import TemporaryDirectory

    from fabnet.attributes.own_table import read_both, read_labels
    from fabnet.config import read_encoder
    from fabnet.inference import probe as probing

    if not embeddings and not encoder:
        raise typer.BadParameter("give --embeddings, --encoder, or both")
    encoders = [read_encoder(each) for each in encoder or []]
    folds = {**probing.PROBE["folds"], "below": folds_below}
    chosen = probing.probe_params(
        folds=folds, seeds=seeds, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    own = probing.labels_params(labels, _pairs(column or [], "--column"), radians, negate or [], seed)
    with TemporaryDirectory() as scratch:
        sources = [(name, Path(path)) for name, path in map(named, embeddings or [])]
        opened = probing.open_all(sources, Path(scratch), ids, force)
        probing.require_made_by(opened, model, weights)
        if encoders:
            shown, labelled = read_both(own, images)
            opened = probing.embed_all(encoders, shown, labelled, opened, kept)
        else:
            labelled = read_labels(own, images.as_posix())
        found = probing.probe(opened, labelled, chosen, probing.bootstrap_params(bootstrap, seed), out, strict)
    for note in found.notes:
        typer.echo(note, err=True)
    saw = {name: str(each.origin.get("saw", "unknown")) for name, each in opened.items()} if encoders else {}
    typer.echo(score_text(found.scores["regularised"], found.scored, saw))
    for metric, reason in found.unscored.items():
        typer.echo(f"{TITLES[metric]}: not scored, because {reason}")
    if found.paired:
        typer.echo(paired_text(found.paired, next(iter(opened))))
    if out is not None:
        typer.echo(f"{out}: predictions.parquet, scores.json")


def named(text: str) -> tuple[str | None, str]:
    """NAME=SOURCE, or a source alone, whose path may hold a `=` of its own."""
    name, equals, source = text.partition("=")
    if equals and name.replace("_", "a").isalnum() and not Path(text).exists():
        return name, source
    return None, text


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise typer.BadParameter(f"{option} wants OURS=THEIRS, not {text}")
        pairs[ours] = theirs
    return pairs


def score_text(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]], scored: str, saw: Mapping[str, str] | None = None
) -> str:
    """A line per metric, a column per encoder: value [low, high], the 95 % interval over people.

    Args:
        scores: {encoder: {metric: {"value", "low", "high", "n"}}}.
        scored: which faces were predicted, in words.
        saw: what encoders learnt from, a line of its own; left out, there is none.
    """
    known = [metric for metric in TITLES if any(metric in row for row in scores.values())]
    lines = [[TITLES[metric], *(_cell(row.get(metric)) for row in scores.values())] for metric in known]
    if saw:
        lines.insert(0, ["learnt from", *(saw.get(encoder, "-") for encoder in scores)])
    return _aligned([scored, *scores], lines)


def paired_text(paired: Mapping[str, Mapping[str, Mapping[str, Any]]], reference: str) -> str:
    """A line per metric, a column per encoder: its difference from the reference [low, high], `*` where not zero.

    Args:
        paired: {encoder: {metric: {"difference", "low", "high", "n", "apart"}}}.
        reference: the encoder that they are compared with.
    """
    known = [metric for metric in TITLES if any(metric in row for row in paired.values())]
    lines = [[TITLES[metric], *(_difference(row.get(metric)) for row in paired.values())] for metric in known]
    return _aligned([f"minus {reference}", *paired], lines)


def _aligned(header: list[str], lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in [header, *lines])


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    mark = " *" if found["apart"] else ""
    return f"{found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]{mark}"


def _cell(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None else f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
