"""`fabnet serve`: MLflow's own scoring server on a registered model, behind what keeps it from strangers and nonsense.

The application is MLflow's (/ping, /health, /version, /invocations). Around it, from the outside in: whose hosts are
ours (`hosts`), problems in one line (`answers`), and bodies within limits (`bodies`).
"""

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from fabnet.errors import UserError
from fabnet.inference.hosts import AllowedHosts, address, allowed_hosts, listen

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: Requests that a worker works on at once: Python does one thing at a time, but the network and decoders do not ask it.
SLOTS = 2

_GRACE_S = 10
_KEEP_ALIVE_S = 75
# A worker that is loading, or reading a long request, does not answer its supervisor.
_HUNG_S = 60


@dataclass(frozen=True)
class Service:
    """What a worker serves: the files of a version, and under which hosts."""

    name: str
    package: Path
    hosts: tuple[str, ...]


def serve(uri: str, host: str, port: int, workers: int, more_hosts: str | None = None) -> None:
    """Serve `models:/fabnet@ALIAS` or `models:/fabnet/NUMBER` until SIGTERM or SIGINT.

    Args:
        port: 0 takes any free one.
        workers: processes, which share the port.
        more_hosts: further names of this server, see `hosts.allowed_hosts`.

    Raises:
        UserError: there is no such version, its files are not whole, another version of fabnet registered it, the
            store cannot be reached, or the address cannot be had.
    """
    hosts = allowed_hosts(host, more_hosts)
    with listen(host, port) as bound:
        # Read when torch is imported, which comes with the next line. More threads than cores make each other wait.
        os.environ.setdefault("OMP_NUM_THREADS", str(threads_of(workers)))
        from fabnet.tracking.registry.versions import fetch

        fetched = fetch(uri)
        service = Service(fetched.name, fetched.directory.parent.parent, hosts)
        announce = _Announce(f"{fetched.name} is served at {address(bound)}/invocations")
        if workers == 1:
            server = uvicorn.Server(_config(build(service), announce, 1))
            signal.signal(signal.SIGTERM, _leave)
            try:
                server.run([bound])
            except KeyboardInterrupt:  # uvicorn has closed everything, and tells us why
                return
            return
        supervisor = Multiprocess(_config(_Worker(service, os.getpid()), announce, workers), [bound])
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise UserError(f"{fetched.name}: its workers could not start")


def threads_of(workers: int) -> int:
    """Threads of a network, so that all requests that are worked on at once fill the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (workers * SLOTS))


def build(service: Service) -> "ASGIApp":
    """The application of a worker, its model loaded.

    Raises:
        UserError: the model cannot be loaded.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model, scoring_server

    from fabnet.inference import answers
    from fabnet.inference.bodies import Limits
    from fabnet.tracking.store import quiet

    with quiet():
        try:
            model = load_model(str(service.package))
        except (MlflowException, OSError) as error:
            raise UserError(f"{service.name}: cannot be loaded: {answers.one_line(str(error))}") from error
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of requests
    scoring_server.predictions_to_json = answers.predictions_to_json
    app = scoring_server.init(model)
    return AllowedHosts(answers.OneLine(Limits(app, SLOTS)), service.hosts)


@dataclass(frozen=True)
class _Worker:
    """Makes the application in a process of the supervisor, and ends with it."""

    service: Service
    supervisor: int

    def __call__(self) -> "ASGIApp":
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            return build(self.service)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(STARTUP_FAILURE)

    def _watch(self) -> None:
        while os.getppid() == self.supervisor:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)


class _Announce:
    """Says once that requests are taken; uvicorn calls it as soon as they are, and then again and again."""

    def __init__(self, line: str) -> None:
        self._line = line

    async def __call__(self) -> None:
        if self._line:
            print(f"{self._line} (process {os.getpid()})", flush=True)
        self._line = ""


def _config(app: "ASGIApp | _Worker", announce: _Announce, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, _Worker),
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
