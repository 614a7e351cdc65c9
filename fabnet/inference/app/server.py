"""The page as a server: behind a host allow-list, without a request to any other machine."""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fabnet import processes
from fabnet.errors import UserError
from fabnet.host_allowlist import HostAllowlist

if TYPE_CHECKING:
    import uvicorn

    from fabnet.inference.app.analysis import Reader
    from fabnet.inference.app.gallery import Gallery

#: For requests that are under way when the server is asked to end; the page itself holds a connection open.
_GRACE_S = 2


def check_installed() -> None:
    """Raises UserError if the extra `app` is not installed."""
    if find_spec("gradio") is None:
        raise UserError("fabnet app needs Gradio, which is not installed: pip install 'fabnet[app]'")


def server(
    reader: "Reader", gallery: "Gallery | None", no_gallery: str, hosts: Sequence[str], uploads: str
) -> "uvicorn.Server":
    """A server of the page, to be run on a socket that listens already: `server(...).run(sockets=[...])`.

    Args:
        reader: the model, and the ways to find faces.
        gallery: faces to compare with, or None.
        no_gallery: what the page says where there is none.
        hosts: names under which it may be asked.
        uploads: folder for what visitors send.

    Raises:
        UserError: the extra `app` is not installed.
    """
    check_installed()
    # Read when Gradio is imported.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ |= {"GRADIO_TEMP_DIR": uploads}
    import gradio as gr
    import uvicorn
    from fastapi import FastAPI

    from fabnet.inference.app.guard import MAX_BYTES, OnlyUploads, Policy
    from fabnet.inference.app.page import CSS, HEAD, build

    processes.preload("fabnet.inference.app.faces")
    page = build(reader, gallery, no_gallery)
    application = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
        head=HEAD,
    )
    page.has_launched = True  # only then does Gradio check that a file is one of its uploads
    guarded = HostAllowlist(Policy(OnlyUploads(application, Path(uploads))), tuple(hosts))
    config = uvicorn.Config(
        guarded, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
    )
    return uvicorn.Server(config)


def serve(
    reader: "Reader", gallery: "Gallery | None", no_gallery: str, hosts: Sequence[str], bound: socket.socket
) -> None:
    """Serve the page until the process is asked to end (Ctrl-C, SIGTERM). What visitors sent is deleted then.

    Args:
        reader: the model, and the ways to find faces.
        gallery: faces to compare with, or None.
        no_gallery: what the page says where there is none.
        hosts: names under which it may be asked.
        bound: a socket that is bound but need not listen yet; see `host_allowlist.listen`.
    """
    # uvicorn finishes, then sends itself the signal again: that is not to end the process before the block.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        TemporaryDirectory(prefix="fabnet-app-", ignore_cleanup_errors=True) as uploads,
        suppress(KeyboardInterrupt),
    ):
        server(reader, gallery, no_gallery, hosts, uploads).run(sockets=[bound])
