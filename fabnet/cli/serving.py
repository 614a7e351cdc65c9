"""A model behind a port: `fabnet serve` over HTTP, and the web page of `fabnet app`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()


@app.command()
def serve(
    uri: Annotated[str, typer.Argument(help="models:/fabnet@champion or models:/fabnet/NUMBER")],
    host: Annotated[
        str, typer.Option(help="The address to listen on. Others than 127.0.0.1 can be reached by other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one; it is printed.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    allowed_hosts: Annotated[
        str | None,
        typer.Option(
            help="Names under which it may be asked, apart from those of loopback and --host; separated by commas: "
            "NAME, NAME:PORT, *.DOMAIN, or * for any."
        ),
    ] = None,
) -> None:
    """Serve a registered model over HTTP until Ctrl-C or SIGTERM."""
    from fabnet.serving.server import serve

    serve(uri, host, port, workers, allowed_hosts)


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
        typer.Option(help="The page's initial choice: one centred face, or detection. Default: as in training."),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Fraction of a box's side added on each side. Default: as in training.")
    ] = None,
    detector_model: Annotated[Path | None, typer.Option(help="ONNX file of YuNet, for detection.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 7860,
    allowed_hosts: Annotated[
        str | None, typer.Option(help="Allowed host names besides those of loopback, separated by commas.")
    ] = None,
) -> None:
    """Serve a web page to try a model on a picture or short clip.

    Drop one on it and see what the model predicts. Needs the extra `app`.
    """
    from fabnet.host_allowlist import allowed_hosts as names_of
    from fabnet.host_allowlist import listen, url_of
    from fabnet.inference.app.server import check_installed

    check_installed()
    names = names_of(host, allowed_hosts)
    with listen(host, port) as bound:
        from fabnet.inference.app.analysis import open_reader
        from fabnet.inference.app.gallery import find_gallery, open_gallery
        from fabnet.inference.app.server import serve
        from fabnet.model import load

        reader = open_reader(load(model, heads, device), model, faces, margin, detector_model)
        compared, missing = find_gallery(reader) if gallery is None else (open_gallery(reader, gallery), "")
        bound.listen()
        typer.echo(f"{url_of(bound)}: {model}, {compared.title if compared else 'no gallery'}. Ctrl-C ends it.")
        serve(reader, compared, missing, names, bound)
