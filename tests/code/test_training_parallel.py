"""Two processes on gloo do what one does on the same batches; odd batches, so that their shares differ in size."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_process
from servers import free_port
from small_runs import params, trainer
from two_processes import CASES, over_damaged_frames, summary

from fabnet.errors import UserError
from fabnet.files import read_json
from fabnet.training import checkpoint
from fabnet.training.world import World

HERE = Path(__file__).parent


def torchrun(folder, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [HERE / "two_processes.py", folder, *arguments]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1]))),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)


def both(folder, *arguments):
    """The two processes with the environment that torchrun gives them, without its start; what each of them says."""
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}

    def process(rank):
        environment = os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        return warm_process.run([HERE / "two_processes.py", folder, *arguments], cwd=folder, env=environment)

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(process, range(2)))
    assert [done.returncode for done in ended] == [0, 0], "".join(done.stderr[-3000:] for done in ended)
    return [done.stderr for done in ended]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    first, second = both(folder)
    assert "train: 300/300 samples" in first  # it speaks for both
    assert "train: 300/300" not in second
    return folder


@pytest.mark.parametrize("case", ["plain", "views", "curriculum"])
def test_two_processes_equal_one(folder, case):
    """Losses of training and validation, windows and thresholds of the global batch, and the final weights."""
    expected = trainer(params(**CASES[case]), alone=True).run()
    actual, one = read_json(folder / f"{case}.json"), summary(expected)
    for table in ("history", "curriculum"):
        assert len(actual[table]) == len(one[table])
        for row, other in zip(actual[table], one[table], strict=True):
            assert row.pop("split", None) == other.pop("split", None)
            row, other = ({key: value for key, value in each.items() if value is not None} for each in (row, other))
            assert row == pytest.approx(other, rel=1e-5)
    weights = torch.load(folder / f"{case}.pt", weights_only=True)
    assert weights.keys() == expected.last.keys()
    start = trainer(params(**CASES[case]), alone=True).model.state_dict()
    for name, value in expected.last.items():
        if value.is_floating_point():
            moved = (value - start[name]).norm()
            assert (weights[name] - value).norm() <= 1e-3 * moved + 1e-6, name
        else:
            assert torch.equal(weights[name], value), name


def test_sync_batch_norm_needs_gpus():
    with pytest.raises(UserError, match="sync_batch_norm needs GPUs"):
        trainer(params(sync_batch_norm=True), world=World(size=2))


def test_only_the_first_process_writes(folder):
    folders = {path.name for path in folder.iterdir() if path.is_dir()} - {"killed"}
    assert folders == {"apart", "curriculum", "plain", "stopped", "views"}


def test_sigterm_of_one_process_stops_both_and_they_resume(folder):
    resumed, whole = read_json(folder / "resumed.json"), read_json(folder / "apart.json")
    assert resumed["stopped_at"] == 10
    assert_alike(folder, "resumed", resumed, whole)


def test_a_run_whose_one_process_was_killed_goes_on_from_its_checkpoint(folder):
    broken = torchrun(folder, "kill")
    assert broken.returncode != 0
    assert checkpoint.load(folder / "killed/checkpoint.pt")["step"] == 6
    assert not (folder / "killed.json").exists()
    both(folder, "resume")
    assert_alike(folder, "killed", read_json(folder / "killed.json"), read_json(folder / "apart.json"))


def assert_alike(folder, name, resumed, whole):
    assert len(resumed["curriculum"]) == len(whole["curriculum"])
    for row, other in zip(resumed["curriculum"], whole["curriculum"], strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    assert resumed["best_step"] == whole["best_step"]
    assert [row["loss"] for row in resumed["history"]] == pytest.approx(
        [row["loss"] for row in whole["history"]], rel=1e-6
    )
    weights, others = (torch.load(folder / f"{run}.pt", weights_only=True) for run in (name, "apart"))
    for key, value in others.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-5, atol=1e-7, msg=key)


def test_corrupt_frames_count_together_and_are_replaced_as_in_one_process(folder):
    alone = over_damaged_frames(World())
    expected = summary(alone.run())["history"]
    for rank in range(2):
        here = read_json(folder / f"damaged-{rank}.json")
        assert here["rows"] == alone.train.corrupt.rows == [3, 14]
        assert [row["loss"] for row in here["history"]] == pytest.approx([row["loss"] for row in expected], rel=1e-5)


def test_shares_of_seven_are_four_and_three_in_order(folder):
    assert read_json(folder / "resumed.json")["gathered"] == [0, 1, 2, 3, 10, 11, 12]
    shares = [World(rank, 3).share(np.arange(7)).tolist() for rank in range(3)]
    assert shares == [[0, 1, 2], [3, 4], [5, 6]]
    assert World(1, 2).share(np.arange(1)).tolist() == []
