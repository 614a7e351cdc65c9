"""Probes on disk: the mean of the seeds, the same bytes, and clear refusals of what is no such file."""

import json
import time
import zipfile

import numpy as np
import pytest

from fabnet.errors import UserError
from fabnet.probing.linear import Schedule, fit
from fabnet.probing.probe import log_softmax
from fabnet.probing.problem import Problem
from fabnet.probing.readings import OUTPUTS, read_heads, write_heads

META = {"encoder": "tiny", "set": "faces", "weights_sha256": "ab" * 32, "recipe_hash": "0123456789abcdef"}
ROWS = np.arange(120)


@pytest.fixture(scope="module")
def trained():
    """Features, problems of every task and their probes of three seeds."""
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 8)).astype(np.float32)
    tasks = {name: features @ random.normal(size=(8, len(names))) for name, names in OUTPUTS.items()}
    problems = [
        Problem("landmarks68", "mse", tasks["landmarks68"].astype(np.float32), 136),
        Problem("landmarks5", "mse", tasks["landmarks5"].astype(np.float32), 10),
        Problem("pose", "mse", (20 * tasks["pose"]).astype(np.float32), 3),
        Problem("units", "bce", (tasks["units"] > 0.5).astype(np.float32), 11),
        Problem("expression", "cross_entropy", tasks["expression"].argmax(axis=1), 8),
    ]
    schedule = Schedule(seeds=3, epochs=3, batch_size=32, learning_rate=0.01, validation_every=1)
    return features, problems, fit(features, problems, ROWS[:80], ROWS[80:], schedule)


@pytest.fixture
def path(trained, tmp_path):
    _, problems, probes = trained
    write_heads(tmp_path / "heads/tiny.npz", probes, problems, META)
    return tmp_path / "heads/tiny.npz"


def test_heads_predict_the_mean_of_the_seeds(trained, path):
    features, problems, probes = trained
    saved = read_heads(path)
    assert [(head.task, head.loss, head.names) for head in saved.heads] == [
        (problem.task, problem.loss, OUTPUTS[problem.task]) for problem in problems
    ]
    assert {key: saved.meta[key] for key in META} == META
    assert saved.meta["seeds"] == 3
    for head, probe in zip(saved.heads, probes, strict=True):
        mean = probe.predict(features, ROWS).mean(axis=0)
        outputs = head(features)
        if head.task == "expression":  # logarithms of probabilities, once they sum to 1
            outputs, mean = log_softmax(outputs), log_softmax(mean)
        np.testing.assert_allclose(outputs, mean, atol=2e-4)


def test_the_same_probes_are_the_same_bytes_at_any_time(trained, path, tmp_path, monkeypatch):
    _, problems, probes = trained
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_heads(tmp_path / "again.npz", probes, problems, META)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as file:
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def change(path, **arrays):
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **content | arrays)


def test_no_file_of_probes(tmp_path, path):
    with pytest.raises(UserError, match=r"nothing\.npz: no such file of probes; `dvc repro probe`"):
        read_heads(tmp_path / "nothing.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "pickle.npz", meta=np.array([{"version": 1}], dtype=object))
    (tmp_path / "text.npz").write_text("not a zip")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:-100])
    for name in ("other.npz", "one.npy", "pickle.npz", "text.npz", "cut.npz"):
        with pytest.raises(UserError, match=rf"{name}: not a file of probes") as refused:
            read_heads(tmp_path / name)
        assert "unsafe" not in str(refused.value)


def test_damaged_numbers_and_other_versions_are_refused(path):
    change(path, **{"pose/weight": np.full((3, 8), np.nan, np.float32)})
    with pytest.raises(UserError, match="task pose: its numbers are damaged"):
        read_heads(path)
    change(path, **{"pose/weight": np.zeros((2, 8), np.float32)})
    with pytest.raises(UserError, match="task pose: its numbers are damaged"):
        read_heads(path)
    with np.load(path) as file:
        meta = json.loads(str(file["meta"]))
    change(path, meta=np.array(json.dumps(meta | {"version": 99})))
    with pytest.raises(UserError, match="has version 99, this code reads 1"):
        read_heads(path)


def test_outputs_that_are_not_those_of_the_task(trained, tmp_path):
    _, problems, probes = trained
    with pytest.raises(ValueError, match="pose: 10 outputs instead of 3"):
        write_heads(tmp_path / "x.npz", [probes[1]], [problems[2]], META)
    assert not (tmp_path / "x.npz").exists()
