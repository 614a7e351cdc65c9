"""Programs in processes that begin with their libraries imported.

`run`      `subprocess.run` of Python, without the wait
`folder`   a folder for PATH whose `python` does the same for what others start: the stages of DVC

A stage imports torch, MLflow and scikit-learn for seconds and then may work for a tenth of one. A server, started when
it is first asked for, imports them once, does nothing else, and forks at each call: every program has a process, an
environment, streams and a working directory of its own, and may be killed. What they import is not seen as missing
here, so tests of imports, of logging at the first import and of numbers of threads start Python itself.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path

LIBRARIES = (
    "av",
    "cv2",
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.repo.reproduce",
    "dvc_render.html",
    "matplotlib.pyplot",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking",
    "pandera.backends.pandas.register",
    "pandera.pandas",
    "pyarrow.parquet",
    "scmrepo.git",
    "sklearn.linear_model",
    "torch._dynamo",  # the first step of any optimiser imports it
    "typer",
)
# Of a whole pipeline besides, if its `folder` is what is asked for first.
PIPELINE = ("great_expectations",)

# What the `python` of `folder` runs. Options, as in `python -m`, are Python's own.
_PROGRAM = """\
import json, os, signal, socket, sys

if not sys.argv[1:] or sys.argv[1].startswith("-"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
request = {{"arguments": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
request["cores"] = [*os.sched_getaffinity(0)]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
    replies = server.makefile()
    number = int(replies.readline())
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda signum, frame: os.kill(number, signum))
    code = int(replies.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def run(arguments, *, cwd, env=None, timeout=240) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`; first `-c` or a script."""
    request = {
        "arguments": [str(argument) for argument in arguments],
        "cwd": str(cwd),
        "env": dict(os.environ if env is None else env),
        "cores": [*os.sched_getaffinity(0)],
    }
    with (
        socket.socket(socket.AF_UNIX) as server,
        open(os.devnull) as nothing,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        server.connect(_address())
        server.settimeout(timeout)
        socket.send_fds(
            server, [json.dumps(request).encode() + b"\n"], [stream.fileno() for stream in (nothing, out, err)]
        )
        with server.makefile() as replies:
            try:
                replies.readline()
                code = int(replies.readline())  # when the connection ends first, the program is killed
            except TimeoutError:
                code = None
        for stream in (out, err):
            stream.seek(0)
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout, out.read(), err.read())
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


@cache
def folder() -> Path:
    address = _address(PIPELINE)
    program = Path(address).with_name("start.py")
    program.write_text(_PROGRAM.format(python=sys.executable, address=address))
    python = program.with_name("python")
    python.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(program)])} "$@"\n')
    python.chmod(0o755)
    return python.parent


def _address(also: Sequence[str] = ()) -> str:
    """The server's, which imports LIBRARIES, and others if it has to be started."""
    global _started
    with _starting:
        _started = _started or _start(also)
    return _started


_started: str | None = None
_starting = threading.Lock()  # tests ask for two programs at once


def _start(also: Sequence[str]) -> str:
    place = tempfile.TemporaryDirectory(prefix="warm")
    address = f"{place.name}/server"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= one_thread | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, __file__, address, *also]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    atexit.register(place.cleanup)
    atexit.register(server.communicate)  # the end of its input is its end
    assert server.stdout.readline() == b"listening\n"
    return address


class _Server:
    """Forks a process for every connection, tells its number and how it ended, and kills it if nobody listens."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._numbers: dict[socket.socket, int] = {}

    def next_request(self) -> tuple[dict, list[int]] | None:
        """None when the server has to end; in each process that it makes, what to do and its three streams."""
        self._selector.register(0, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == 0:
                    return None
                if key.fileobj is self._listener:
                    if (asked := self._accept()) is not None:
                        return asked
                elif isinstance(key.fileobj, socket.socket):
                    self._kill(key.fileobj)
                else:
                    self._tell(key.fd, key.data)

    def _accept(self) -> tuple[dict, list[int]] | None:
        connection, _ = self._listener.accept()
        text, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        while not text.endswith(b"\n"):
            text += connection.recv(1 << 16)
        if (number := os.fork()) == 0:
            # Its own end, and those of others, must not stay open here: their closing says that nobody listens.
            for opened in (connection, self._listener, self._selector, *self._numbers):
                opened.close()
            return json.loads(text), streams
        for stream in streams:
            os.close(stream)
        self._numbers[connection] = number
        self._selector.register(connection, selectors.EVENT_READ)
        self._selector.register(os.pidfd_open(number), selectors.EVENT_READ, connection)
        connection.sendall(b"%d\n" % number)
        return None

    def _kill(self, connection: socket.socket) -> None:
        os.kill(self._numbers[connection], signal.SIGKILL)
        self._selector.unregister(connection)

    def _tell(self, ended: int, connection: socket.socket) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(self._numbers.pop(connection), 0)[1])
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
            connection.sendall(b"%d\n" % code)
        connection.close()


def _become(request, streams) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.sched_setaffinity(0, request["cores"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    program, *rest = request["arguments"]
    if program == "-c":
        code, *rest = rest
        sys.argv, sys.path[0] = ["-c", *rest], ""
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = [program, *rest], str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")


def _end(code) -> None:
    """What the end of Python does for a program, without taking all of its libraries apart, which lasts a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    for name in (*LIBRARIES, *sys.argv[2:]):
        importlib.import_module(name)
    assert threading.active_count() == 1  # others would be missing after a fork
    gc.freeze()  # else the first collection in each process copies all of this memory
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    print("listening", flush=True)
    asked = _Server(listener).next_request()
    if asked is None:
        return
    try:
        _become(*asked)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):  # as Python does
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    _end(code)


if __name__ == "__main__":
    main()
