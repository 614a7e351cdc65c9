"""`fabnet serve`: a registered model over HTTP, with request validation and a host allow-list, in some processes."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from fabnet.errors import UserError, one_line
from fabnet.host_allowlist import HostAllowlist, allowed_hosts, listen, url_of
from fabnet.processes import cores, follow_parent

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: Requests that a worker works on at once: inference and decoding release the GIL, so two of them overlap.
SLOTS = 2

_GRACE_S = 10
_KEEP_ALIVE_S = 75
# A worker that is loading, or reading a long request, does not answer its supervisor.
_HUNG_S = 60


@dataclass(frozen=True)
class Service:
    """What a worker serves: the files of a version, see `serving.reader.ImageReader`, and under which hosts."""

    name: str
    model: Path
    heads: Path | None
    hosts: tuple[str, ...]


def serve(uri: str, host: str, port: int, workers: int, more_hosts: str | None = None) -> None:
    """Serve `models:/fabnet@ALIAS` or `models:/fabnet/NUMBER` until SIGTERM or SIGINT.

    Args:
        uri: of a registered version.
        host: address to listen on.
        port: 0 takes any free one.
        workers: processes, which share the port.
        more_hosts: further names of this server, see `host_allowlist.allowed_hosts`.

    Raises:
        UserError: there is no such version, its files are not whole, another version of fabnet registered it, the
            store cannot be reached, or the address cannot be bound.
    """
    hosts = allowed_hosts(host, more_hosts)
    with listen(host, port) as bound:
        # Read when torch is imported, which comes with the next line. More threads than cores make each other wait.
        os.environ.setdefault("OMP_NUM_THREADS", str(threads_of(workers)))
        from fabnet.tracking.registry.versions import fetch

        version = fetch(uri)
        service = Service(version.name, version.directory, version.heads, hosts)
        announce = _Announce(f"{service.name} is served at {url_of(bound)}/invocations")
        if workers == 1:
            server = uvicorn.Server(_config(build_app(service), announce, 1))
            signal.signal(signal.SIGTERM, _leave)
            try:
                server.run([bound])
            except KeyboardInterrupt:  # uvicorn has closed everything, and passes the signal on
                return
            return
        supervisor = _Supervisor(_config(partial(_worker_app, service), announce, workers), [bound])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise UserError(f"{service.name}: its workers could not start")


def threads_of(workers: int) -> int:
    """Threads of a network, so that all requests that are worked on at once fill the cores."""
    return max(1, cores() // (workers * SLOTS))


def build_app(service: Service) -> "ASGIApp":
    """The application of a worker, its model loaded.

    Raises:
        UserError: the model cannot be loaded.
    """
    from fabnet.serving.api import build_api
    from fabnet.serving.reader import ImageReader

    try:
        reader = ImageReader(service.model, service.model.parent / "description.json", service.heads)
    except OSError as error:
        raise UserError(f"{service.name}: cannot be loaded: {one_line(error, 300)}") from error
    return HostAllowlist(build_api(reader, SLOTS), service.hosts)


def _worker_app(service: Service) -> "ASGIApp":
    """The application, made in a process of the supervisor."""
    follow_parent()
    try:
        return build_app(service)
    except UserError as error:
        logger.error(error)
        sys.exit(STARTUP_FAILURE)


class _Supervisor(Multiprocess):
    """Notices at once that a worker died."""

    def keep_subprocess_alive(self) -> None:
        # uvicorn keeps the worker's end of the pipe open here too (0.54): a worker that dies between a ping and its
        # answer then looks like one that is busy, for as long as `_HUNG_S`.
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


class _Announce:
    """Prints once that requests are taken; uvicorn calls it as soon as they are, and then again and again."""

    def __init__(self, line: str) -> None:
        self._line = line

    async def __call__(self) -> None:
        if self._line:
            print(f"{self._line} (process {os.getpid()})", flush=True)
        self._line = ""


def _config(app: "ASGIApp | Callable[[], ASGIApp]", announce: _Announce, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        callback_notify=announce,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_worker_healthcheck=_HUNG_S,
    )


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)
