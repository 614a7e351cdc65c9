"""Programs in processes that begin with their libraries imported: `run` is `subprocess.run` of Python without the wait.

A stage imports torch, MLflow and scikit-learn for seconds and then may work for a tenth of one. A server, started when
it is first asked for, imports them once, does nothing else, and forks at each call: every program has a process, an
environment and a working directory of its own, and may be killed. What they import is not seen as missing here, so
tests of imports, of logging at the first import and of numbers of threads start Python itself.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from functools import cache
from pathlib import Path

LIBRARIES = (
    "cv2",
    "mlflow.pyfunc",
    "mlflow.tracking",
    "pandera.pandas",
    "pyarrow.parquet",
    "sklearn.linear_model",
    "torch",
)


def run(arguments, *, cwd, env=None, timeout=240) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`; first `-c` or a script."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        request = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "env": dict(os.environ if env is None else env),
            "streams": [str(out), str(err)],
        }
        server.stdin.write(json.dumps(request).encode() + b"\n")
        number = int(server.stdout.readline())
        ended, _, _ = select.select([server.stdout], [], [], timeout)
        if not ended:
            os.kill(number, signal.SIGKILL)
        code = int(server.stdout.readline())
        if not ended:
            raise subprocess.TimeoutExpired(arguments, timeout, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[bytes]:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= one_thread | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    server = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)
    atexit.register(server.communicate)  # the end of its input is its end
    return server


def _next_request(requests, replies) -> dict | None:
    """In the server None, when there are no more requests; in each process that it makes, what to do."""
    while line := requests.readline():
        if (number := os.fork()) == 0:
            return json.loads(line)
        replies.write(b"%d\n" % number)
        replies.write(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))
    return None


def _become(request) -> None:
    for number, (path, flags) in enumerate(
        [(os.devnull, os.O_RDONLY), *((path, os.O_WRONLY | os.O_CREAT) for path in request["streams"])]
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
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
    for name in LIBRARIES:
        importlib.import_module(name)
    assert threading.active_count() == 1  # others would be missing after a fork
    gc.freeze()  # else the first collection in each process copies all of this memory
    with os.fdopen(os.dup(0), "rb", 0) as requests, os.fdopen(os.dup(1), "wb", 0) as replies:
        request = _next_request(requests, replies)
    if request is None:
        return
    try:
        _become(request)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    _end(code)


if __name__ == "__main__":
    main()
