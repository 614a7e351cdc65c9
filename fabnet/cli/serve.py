"""`fabnet serve`: a registered model over HTTP."""

from typing import Annotated

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
