"""`fabnet app`: a web page on which a model reads the faces of a picture or a short clip."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()


@app.command(name="app")
def page(
    model: Annotated[str, typer.Argument(help="models/NAME, or a registered one: models:/fabnet@champion")],
    heads: Annotated[
        Path | None, typer.Option(help="Probes of this model, probes/SET/heads/NAME.npz. Default: those registered.")
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            help="Faces to compare with: embeddings/SET/trained/NAME, a Parquet file of `fabnet embed`, or a folder of "
            "frames. Default: the project's, if it has any for this model."
        ),
    ] = None,
    faces: Annotated[
        Literal["cropped", "detect"] | None,
        typer.Option(
            help="What the page begins with: one face in the middle, or looking. Default: as the model learnt."
        ),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Fraction of a box's side added on each side. Default: as the model learnt.")
    ] = None,
    detector_model: Annotated[Path | None, typer.Option(help="ONNX file of YuNet, to look for faces with it.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 7860,
    allowed_hosts: Annotated[
        str | None, typer.Option(help="Names besides those of loopback under which the page may be asked, by commas.")
    ] = None,
) -> None:
    """Show a page: drop a picture or a short clip on it and see what the model reads. It needs the extra `app`."""
    from fabnet.inference import hosts
    from fabnet.inference.app.server import check_installed

    check_installed()
    names = hosts.allowed_hosts(host, allowed_hosts)
    with hosts.listen(host, port) as bound:
        from fabnet.inference.app.analysis import open_reader
        from fabnet.inference.app.gallery import find_gallery, open_gallery
        from fabnet.inference.app.server import serve
        from fabnet.inference.model import choose_device

        directory = Path(model)
        if model.startswith("models:"):
            from fabnet.tracking.registry.versions import fetch

            fetched = fetch(model)
            directory, heads = fetched.directory, heads or fetched.heads
        reader = open_reader(directory, heads, model, faces, margin, detector_model, choose_device(device))
        compared, missing = find_gallery(reader) if gallery is None else (open_gallery(reader, gallery), "")
        bound.listen()
        typer.echo(f"{hosts.address(bound)}: {model}, {compared.title if compared else 'no gallery'}. Ctrl-C ends it.")
        serve(reader, compared, missing, names, bound)
