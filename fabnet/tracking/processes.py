"""Which process writes a run, and the closing of runs whose process is gone.

A process that is killed outright cannot close its run, which would stay RUNNING for ever. A run therefore names its
process, and whoever opens the store next on that machine closes the runs of the dead.
"""

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS = "fabnet.process"
REAPED = "fabnet.reaped"
_SECONDS = 2.0  # by which a start time may drift: it is counted from the boot, whose time the clock corrects


def this_process() -> str:
    """`host pid start` of the process, the start in seconds since 1970: a later process may have the same pid."""
    import psutil  # type: ignore[import-untyped]

    pid = os.getpid()
    return f"{socket.gethostname()} {pid} {psutil.Process(pid).create_time():.2f}"


def is_gone(process: str) -> bool:
    """Whether a process as `this_process` names it has ended. Nothing is known of other machines: False for theirs."""
    import psutil

    try:
        host, pid, started = process.split(" ")
        number, start = int(pid), float(started)
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    try:
        found = psutil.Process(number)
        return found.status() == psutil.STATUS_ZOMBIE or abs(found.create_time() - start) > _SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def reap(client: "MlflowClient", experiment: str) -> list[str]:
    """Close, as KILLED, the runs of an experiment whose process has ended on this machine; their names."""
    closed = []
    token = None
    while True:
        page = client.search_runs([experiment], "attributes.status = 'RUNNING'", page_token=token)
        for run in page:
            if is_gone(run.data.tags.get(PROCESS, "")):
                client.set_tag(run.info.run_id, REAPED, "true")
                client.set_terminated(run.info.run_id, "KILLED")
                closed.append(str(run.info.run_name))
        token = page.token
        if not token:
            return closed
