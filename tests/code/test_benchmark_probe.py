"""The benchmark of probes, on few rows: it runs, its data are learnable, and ours and scikit-learn's agree."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import probe
from fabnet.files import read_json

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs_and_both_learn_the_same(tmp_path):
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "benchmarks.probe", "--rows", "6000", "--batch", "256", "--epochs", "6"]
    done = subprocess.run(
        [*command, "--json", str(told)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = read_json(told)
    assert len(results) == 5
    assert all(result["seconds"] > 0 and result["peak_mb"] > 50 for result in results.values())
    ours, theirs = results["ours, classes"], results["sklearn, classes"]
    assert ours["classes"] == pytest.approx(theirs["classes"], abs=4)  # few rows are noisy
    assert 60 < theirs["classes"] < 99
    assert results["ours, all at once"]["classes"] == pytest.approx(ours["classes"], abs=0.5)
    assert "times the embeddings" in done.stdout


def test_its_data_are_as_told(tmp_path):
    probe.write_data(tmp_path, 4000)
    embeddings = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert embeddings.shape == (4000, 256)
    assert embeddings.dtype == np.float32
    assert set(np.load(tmp_path / "classes.npy")) == set(range(8))
    assert 0.01 < np.load(tmp_path / "units.npy").mean() < 0.3
    train, validation, test = probe.splits(4000)
    assert len(np.unique(np.concatenate([train, validation, test]))) == 4000
