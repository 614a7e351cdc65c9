"""Jobs in processes: all are done, also when a process dies, and who killed it is known."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from fabnet.video.pool import JobKilled, run_jobs


def mark(folder: Path, job: int) -> None:
    (folder / str(job)).write_text(str(os.getpid()))


def die_once(folder: Path, job: int) -> None:
    died = folder / "died"
    if job == 2 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    mark(folder, job)


def die(folder: Path, job: int) -> None:
    if job == 2:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    mark(folder, job)


def fail(folder: Path, job: int) -> None:
    if job == 1:
        raise RuntimeError("broken")
    time.sleep(0.02)
    mark(folder, job)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"died"}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(tmp_path, workers):
    assert sorted(run_jobs(partial(mark, tmp_path), range(7), workers)) == list(range(7))
    assert names(tmp_path) == {str(job) for job in range(7)}
    pids = {int(path.read_text()) for path in tmp_path.iterdir()}
    assert (os.getpid() in pids) == (workers == 1)


def test_no_jobs(tmp_path):
    assert list(run_jobs(partial(mark, tmp_path), [], 2)) == []


def test_a_killed_job_runs_again(tmp_path):
    assert sorted(run_jobs(partial(die_once, tmp_path), range(6), 2)) == list(range(6))
    assert names(tmp_path) == {str(job) for job in range(6)}


def test_a_job_that_kills_is_named(tmp_path):
    with pytest.raises(JobKilled) as error:
        list(run_jobs(partial(die, tmp_path), range(6), 2))
    assert error.value.job == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_is_raised(tmp_path, workers):
    with pytest.raises(RuntimeError, match="broken"):
        list(run_jobs(partial(fail, tmp_path), range(200), workers))
    assert len(names(tmp_path)) < 50
