"""Processes that train and are killed for good, at random points, leave what they would have left without that."""

import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import warm_process
from killed_runs import VARIANTS
from small_shards import write_small_shards

from fabnet.files import read_json

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_small_shards(tmp_path_factory.mktemp("killed"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = warm_process.run([HERE / "killed_runs.py", folder], cwd=folder, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_random_points_it_leaves_the_same_files(folder, variant):
    """Weights bit for bit, the history and its length, the curriculum's table, and the card of the model."""
    whole, killed = folder / "whole" / variant, folder / "killed" / variant
    names = ["best.pt", "curriculum.parquet", "history.parquet", "last.pt", "model.json"]
    assert sorted(path.name for path in whole.iterdir()) == names
    assert sorted(path.name for path in killed.iterdir()) == names
    for name in ("best.pt", "last.pt"):
        expected, actual = (torch.load(directory / name, weights_only=True) for directory in (whole, killed))
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(actual[key], value), key
    for name in ("history.parquet", "curriculum.parquet"):
        assert pq.read_table(killed / name).equals(pq.read_table(whole / name)), name
    expected, actual = (read_json(directory / "model.json") for directory in (whole, killed))
    for card in (expected, actual):
        # Files of equal weights; torch writes where each of them lies, which may differ.
        card.pop("weights_sha256")
        card["inputs"].pop("start_from", None)
    assert actual == expected
    assert list((folder / "killed/work").iterdir()) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_they_were_killed_by_both_signals_and_went_on_in_between(folder, variant):
    ends = read_json(folder / "record.json")[variant]
    assert ends[-1][0] == 0
    signals = {end for end, _, _ in ends[:-1]}
    assert -signal.SIGKILL in signals
    assert signals & {128 + signal.SIGTERM, -signal.SIGTERM}
    assert signals <= {-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM}
    steps = [step for _, step, _ in ends[:-1]]
    assert steps == sorted(steps)
    assert len({step for step in steps if step > 0}) >= 2
