"""`fabnet weights`: the authors' released weights in, safetensors and ONNX out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Import released weights, export ours (docs/weights.md).")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The authors' file (.pt, .pth), or one that `export` wrote.")],
    out: Annotated[Path, typer.Option(help="The model directory to write.")],
    upsampling: Annotated[
        Literal["aligned", "unaligned"] | None,
        typer.Option(help="Corner alignment of the decoders' upsampling. Default: aligned, as before PyTorch 0.4."),
    ] = None,
    pixels: Annotated[
        Literal["unit", "signed"] | None,
        typer.Option(help="Pixel range: [0, 1] or [-1, 1]. Default: unit, as the authors'."),
    ] = None,
    recrop: Annotated[
        Literal["none", "authors"] | None,
        typer.Option(help="Crop recipe of the training data. Default: authors, as for VoxCeleb."),
    ] = None,
    sources: Annotated[
        int | None,
        typer.Option(min=1, help="Source frames. Default: as stated in the file, or 3 if it has a mask decoder."),
    ] = None,
    probe: Annotated[list[Path] | None, typer.Option(help="A file with a probe, which may be FILE itself.")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Of each --probe: landmarks68, landmarks5, pose, mouth, units or expression."),
    ] = None,
    angles: Annotated[
        Literal["radians", "degrees"], typer.Option(help="Unit of a pose probe's outputs; the authors': radians.")
    ] = "radians",
) -> None:
    """Convert released weights into a model directory. FILE is loaded as tensors; code in it never runs."""
    from fabnet.errors import ConfigError
    from fabnet.inference.weights import HEADS, Choices, ProbeFile, import_weights

    probes, tasks = probe or [], task or []
    if len(probes) != len(tasks):
        raise ConfigError(f"--probe: each needs its --task; there are {len(probes)} and {len(tasks)}")
    given = {
        "align_corners": None if upsampling is None else upsampling == "aligned",
        "unit_input": None if pixels is None else pixels == "unit",
        "recrop": recrop,
        "sources": sources,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    files = [
        ProbeFile(path, name, radians=name == "pose" and angles == "radians")
        for path, name in zip(probes, tasks, strict=True)
    ]
    done = import_weights(file, out, Choices(**chosen) if chosen else None, files)  # type: ignore[arg-type]
    card = done.card
    typer.echo(
        f"{out}: {card['objective']} of {card['image_size']} px, {card['base_filters']} filters, "
        f"{card['embedding_dim']} dimensions, {card.get('sources', 1)} source(s), weights {card['weights_sha256'][:12]}"
    )
    if probes:
        typer.echo(f"{out / HEADS}: {', '.join(tasks)}")
    if done.aside:
        typer.echo(f"left aside: {', '.join(done.aside)}")


@app.command("export")
def export(
    model: Annotated[Path, typer.Argument(help="A model: models/NAME, or what `import` wrote.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    format_: Annotated[
        Literal["safetensors", "onnx"] | None,
        typer.Option("--format", help="All weights, or the encoder as a graph. Default: by the ending of --out."),
    ] = None,
) -> None:
    """Write a model's weights as safetensors, or its encoder as ONNX.

    With the metadata needed to use it.
    """
    from fabnet.errors import ConfigError, UserError
    from fabnet.inference.weights import export_onnx, export_safetensors

    name = format_ or out.suffix.removeprefix(".")
    writers = {"safetensors": export_safetensors, "onnx": export_onnx}
    if name not in writers:
        raise ConfigError(f"--out {out}: ends with neither .safetensors nor .onnx; say which it is by --format")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; --out names the file to write")
    said = writers[name](model, out)
    typer.echo(f"{out}: {name}, weights {said['fabnet.weights_sha256'][:12]}")
    for key in ("fabnet.input", "fabnet.output"):
        typer.echo(f"  {said[key]}")
