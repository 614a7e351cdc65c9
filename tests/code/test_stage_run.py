"""How a stage is run: with one thread of linear algebra where numbers would depend on the number of cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = Path(__file__).parents[2] / "stages"
SCRIPT = """
import sys
from _run import run

def main() -> None:
    assert "numpy" not in sys.modules  # which reads the variables when it is imported
    from threadpoolctl import threadpool_info
    import numpy
    print({each["num_threads"] for each in threadpool_info()})

run(main, one_thread=%s)
"""


@pytest.mark.parametrize(("one_thread", "threads"), [(True, "{1}"), (False, "{2}")])
def test_a_stage_has_one_thread_if_it_asks_for_it(one_thread, threads):
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    command = [sys.executable, "-c", SCRIPT % one_thread]
    done = subprocess.run(command, cwd=STAGES, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (threads, "")
