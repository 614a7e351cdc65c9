"""The most memory that this process has had. Where others are measured, each step is a process of its own."""

import re
import resource
from pathlib import Path


def peak_mb() -> float:
    """Peak resident memory in MB since this program was started.

    Linux counts in ru_maxrss what the process was before it became this program, and so the memory of whoever started
    it; VmHWM begins anew.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
