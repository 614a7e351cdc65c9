"""Work in other processes: what dies is named and the rest is done, results keep their order, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL

import psutil
import pytest

from fabnet.errors import ConfigError, UserError
from fabnet.processes import Outcome, ordered_map, run_isolated, run_jobs, time_limit
from fabnet.video import engines
from fabnet.video.engines import Engine, open_engine, run_on_ray

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


def leave(folder: Path, job: int) -> None:
    """Job 1 ends its process as if all were well, as some libraries do."""
    mark(folder, job)
    if job == 1:
        os._exit(0)


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
    import pandas as pd  # here, since every process that a test starts imports this file

    from fabnet import tables

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
    assert list(run_jobs(partial(mark, tmp_path), [], 2)) == []


def test_an_error_of_a_job_is_raised(tmp_path, engine):
    with pytest.raises(UserError, match="broken") as error:
        list(engine(partial(fail, tmp_path), range(200), 2))
    assert str(error.value) == "broken"
    assert "in fail" in "".join(error.value.__notes__)
    assert len(begun(tmp_path)) < 50


def test_an_error_that_cannot_travel_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="Untransportable: two values"):
        list(run_jobs(partial(fail_oddly, tmp_path), range(2), 2))


def test_an_illegal_table_is_one_line_for_people(tmp_path, engine):
    with pytest.raises(UserError, match=r"^splits\.parquet: .*column split is missing") as error:
        list(engine(partial(find_illegal, tmp_path), range(2), 2))
    assert "\n" not in str(error.value)


def test_one_local_worker_is_this_process(tmp_path):
    assert list(run_jobs(partial(mark, tmp_path), [0, 2], 1)) == [Outcome(0, died=False), Outcome(1, died=False)]
    assert {by[0] for by in begun(tmp_path).values()} == {os.getpid()}


def test_jobs_are_asked_for_in_their_turn(tmp_path):
    class Jobs(list[int]):
        def __getitem__(self, number):
            asked.append(number)
            return super().__getitem__(number)

    asked: list[int] = []
    for finished, _ in enumerate(run_jobs(partial(mark, tmp_path), Jobs(range(9)), 2), start=1):
        assert len(asked) <= finished + 2
    assert asked == list(range(9))


def test_a_job_that_exits_with_0_is_noticed(tmp_path):
    outcomes = sorted(run_jobs(partial(leave, tmp_path), range(3), 2))
    assert outcomes == [Outcome(job, died=job == 1) for job in range(3)]
    assert len(begun(tmp_path)[1]) == 2


# -- results in order -----------------------------------------------------------------------------------------------


def slow_at_first(item: int) -> tuple[int, str | None]:
    time.sleep(0.3 if item == 0 else 0)
    if item < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item, os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert [square for square, _ in ordered_map(slow_at_first, range(50), workers)] == [n * n for n in range(50)]


def test_items_are_taken_as_results_are(monkeypatch):
    """Ten million frames must not wait in memory, nor their results."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    taken = 0

    def items():
        nonlocal taken
        for taken in range(1, 10_000_001):
            yield taken - 1

    results = ordered_map(slow_at_first, items(), 2)
    for number in range(20):
        assert next(results) == (number * number, "1")
        assert taken <= number + 8
    results.close()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_process_that_dies_is_one_line_for_people():
    with pytest.raises(UserError, match="one of 2 worker processes was killed"):
        list(ordered_map(slow_at_first, [1, 2, -1, 3], 2))


# -- isolated work, and the end -------------------------------------------------------------------------------------


def test_isolated_work_that_dies_or_hangs_is_lost_alone():
    assert run_isolated(abs, -3, 30) is True
    assert run_isolated(os._exit, 3, 30) is False
    assert run_isolated(os._exit, 0, 30) is False
    started = time.monotonic()
    assert run_isolated(time.sleep, 60, 0.2) is False
    assert time.monotonic() - started < 20
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        run_isolated(int, "no number", 30)


PARENTS = {
    "run_jobs": "list(run_jobs(partial(nap, folder), range(8), 2))",
    "ordered_map": "list(ordered_map(partial(nap, folder), range(8), 2))",
    "run_isolated": "run_isolated(partial(nap, folder), 0, 60)",
}


def nap(folder: Path, job: int) -> None:
    mark(folder, job)
    time.sleep(60)


@pytest.mark.parametrize(
    ("name", "ending"),
    # ordered_map finishes what has started, unless the system leaves it no time
    [*((name, "SIGKILL") for name in PARENTS), *(("run_jobs", each) for each in ("SIGTERM", "SIGINT"))],
)
def test_no_process_outlives_its_parent(tmp_path, name, ending):
    code = f"""
import signal, sys
from functools import partial
from pathlib import Path
from fabnet.processes import ordered_map, run_isolated, run_jobs
from test_processes import nap
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would this
    folder = Path({str(tmp_path)!r})
    {PARENTS[name]}
"""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": path}, stderr=DEVNULL) as parent:
        wanted = 1 if name == "run_isolated" else 2
        wait_until(lambda: len(begun(tmp_path)) == wanted)
        workers = [pid for by in begun(tmp_path).values() for pid in by]
        parent.send_signal(getattr(signal, ending))
        try:
            assert parent.wait(30) != 0
        finally:
            parent.kill()
    wait_until(lambda: not any(map(is_running, workers)))


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -- engines --------------------------------------------------------------------------------------------------------


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(
        ConfigError, match=r"extract.engine or --engine: ray is not installed; pip install 'fabnet\[ray\]'"
    ):
        open_engine("ray")


@needs_ray
def test_no_cluster_at_the_address(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster at 127.0.0.1:1 \(RAY_ADDRESS\)"):
        list(run_on_ray(partial(mark, tmp_path), range(2), 2))
