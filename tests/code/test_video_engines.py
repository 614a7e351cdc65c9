"""Jobs in processes: all are done, also when a process dies, and the job that kills is known, for each engine."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from fabnet import tables
from fabnet.errors import ConfigError, UserError
from fabnet.video.engines import cluster, local
from fabnet.video.engines.protocol import Engine, Outcome, open_engine
from fabnet.video.engines.worker import time_limit

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


def mark(folder: Path, job: int) -> None:
    with open(folder / str(job), "a") as file:
        file.write(f"{os.getpid()}\n")


def die(folder: Path, job: int) -> None:
    """Job 1 dies at first, 2 always, 3 hangs."""
    mark(folder, job)
    if job == 2 or (job == 1 and len(begun(folder)[1]) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    with time_limit(0.5):
        time.sleep(60 if job == 3 else 0)


def fail(folder: Path, job: int) -> None:
    if job == 1:
        raise UserError("broken")
    time.sleep(0.02)
    mark(folder, job)


class Untransportable(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__("two values")


def fail_oddly(folder: Path, job: int) -> None:
    raise Untransportable(1, 2)


def find_illegal(folder: Path, job: int) -> None:
    tables.check(pd.DataFrame({"identity": ["a"]}), tables.Splits, "splits.parquet")


def begun(folder: Path) -> dict[int, list[int]]:
    """The processes that began each job."""
    return {int(path.name): [int(line) for line in path.read_text().split()] for path in folder.iterdir()}


@pytest.fixture(scope="module")
def ray_of_two_cores() -> Iterator[None]:
    """A cluster that outlives the single runs, since a new one takes seconds."""
    ray_cluster = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # its processes have to find the jobs of this file
        made = ray_cluster.Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        patch.setenv("RAY_ADDRESS", made.address)
        yield
        made.shutdown()


@pytest.fixture(params=["local", pytest.param("ray", marks=needs_ray)])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "ray":
        request.getfixturevalue("ray_of_two_cores")
    return open_engine(request.param)


def test_every_job_is_done_and_those_that_kill_are_named(tmp_path, engine):
    outcomes = sorted(engine(partial(die, tmp_path), range(6), 2))
    assert outcomes == [Outcome(job, died=job in (2, 3)) for job in range(6)]
    pids = begun(tmp_path)
    assert [len(pids[job]) for job in range(6)] == [1, 2, 2, 2, 1, 1]
    assert os.getpid() not in {pid for by in pids.values() for pid in by}


def test_fresh_jobs_have_processes_of_their_own(tmp_path, engine):
    outcomes = list(engine(partial(die, tmp_path), [4, 2, 0], 1, attempts=1, fresh=True))
    assert outcomes == [Outcome(job, died=job == 1) for job in range(3)]
    assert len({pid for by in begun(tmp_path).values() for pid in by} - {os.getpid()}) == 3


def test_no_jobs(tmp_path):
    assert list(local.run_jobs(partial(mark, tmp_path), [], 2)) == []


def test_an_error_of_a_job_is_raised(tmp_path, engine):
    with pytest.raises(UserError, match="broken") as error:
        list(engine(partial(fail, tmp_path), range(200), 2))
    assert str(error.value) == "broken"
    assert "in fail" in "".join(error.value.__notes__)
    assert len(begun(tmp_path)) < 50


def test_an_error_that_cannot_travel_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="Untransportable: two values"):
        list(local.run_jobs(partial(fail_oddly, tmp_path), range(2), 2))


def test_an_illegal_table_is_one_line_for_people(tmp_path, engine):
    with pytest.raises(UserError, match=r"^splits\.parquet: .*column split is missing") as error:
        list(engine(partial(find_illegal, tmp_path), range(2), 2))
    assert "\n" not in str(error.value)


def test_one_local_worker_is_this_process(tmp_path):
    assert list(local.run_jobs(partial(mark, tmp_path), [0, 2], 1)) == [Outcome(0, died=False), Outcome(1, died=False)]
    assert {by[0] for by in begun(tmp_path).values()} == {os.getpid()}


def test_jobs_are_asked_for_in_their_turn(tmp_path):
    class Jobs(list[int]):
        def __getitem__(self, number):
            asked.append(number)
            return super().__getitem__(number)

    asked: list[int] = []
    for finished, _ in enumerate(local.run_jobs(partial(mark, tmp_path), Jobs(range(9)), 2), start=1):
        assert len(asked) <= finished + 2
    assert asked == list(range(9))


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"extract.engine: ray is not installed; pip install 'fabnet\[ray\]'"):
        open_engine("ray")


@needs_ray
def test_no_cluster_at_the_address(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster at 127.0.0.1:1 \(RAY_ADDRESS\)"):
        list(cluster.run_jobs(partial(mark, tmp_path), range(2), 2))
