"""Runs that are killed, stopped, or find their checkpoint damaged or of another run."""

import errno
import os
import resource
import signal
import threading

import numpy as np
import pytest
import torch
from small_runs import params, trainer

from fabnet.errors import UserError
from fabnet.files import hash_file
from fabnet.training import checkpoint
from fabnet.training.checkpoint import claim

VARIANTS = {
    "adam": {"optimiser": "adam", "schedule": "plateau", "patience": 1},
    "muon": {"optimiser": "muon", "warm_up": 0.3, "views": 3, "sources": 2, "shared_decoder": True, "flow_stride": 2},
    "histograms": {"views": 3, "sources": 2, "histograms": 5.0},
    "sgd": {"optimiser": "sgd", "schedule": "plateau", "patience": 1, "workers": 2},
    "curriculum": {"curriculum": {"patience": 1}, "schedule": "plateau", "patience": 1},
    "sources": {"sources": 3, "jitter": 0.1, "curriculum": {"patience": 1, "longest": 96}},
    "frozen": {"sources": 3, "start_from": "one", "freeze": ["flow_decoder"], "curriculum": {"patience": 1}},
}


class Killed(BaseException):
    pass


def kill_at(run, step):
    """Make the run break off in the middle of its step number `step`."""
    take = run._train_step

    def mortal(batch):
        loss = take(batch)
        if run.step + 1 == step:
            raise Killed
        return loss

    run._train_step = mortal
    return run


def assert_same(result, whole):
    assert result.history == whole.history
    assert result.curriculum == whole.curriculum
    assert (result.best_step, result.best_loss) == (whole.best_step, whole.best_loss)
    for actual, expected in ((result.last, whole.last), (result.best, whole.best)):
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(actual[name], value), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_random_steps_it_ends_as_if_never_killed(tmp_path, variant):
    """Bit for bit: weights, best weights, and every point of the history. Checkpoints are at steps 3, 6, ..., 20."""
    values = params(**VARIANTS[variant], checkpoint_every=48, validation_every=32)
    whole = trainer(values).run()
    path = tmp_path / "checkpoint.pt"
    rng = np.random.default_rng(len(variant))
    begun_at = []
    for step in np.sort(rng.choice(np.arange(4, 21), 4, replace=False)).tolist():
        run = kill_at(trainer(values, path), step)
        with pytest.raises(Killed):
            run.run()
        state = checkpoint.load(path)
        assert state["step"] == (step - 1) // 3 * 3
        begun_at.append(state["step"])
        torch.manual_seed(step)  # the state of the process is not the run's
    result = trainer(values, path).run()
    assert_same(result, whole)
    assert begun_at[-1] > 0


def test_the_next_losses_after_resuming_are_equal(tmp_path):
    values = params(curriculum={"patience": 1})
    whole, expected = trainer(values), []
    take = whole._train_step
    whole._train_step = lambda batch: expected.append(float(loss := take(batch))) or loss
    whole.run()
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        kill_at(trainer(values, path), 13).run()
    resumed, actual = trainer(values, path), []
    go_on = resumed._train_step
    resumed._train_step = lambda batch: actual.append(float(loss := go_on(batch))) or loss
    resumed.run()
    assert actual == expected[10:]


@pytest.mark.parametrize("step", [1, 7, 10])
def test_sigterm_checkpoints_and_exits(tmp_path, capsys, step):
    """At whatever step it comes; the run then ends as if it had not come, points of the history included."""
    values = params(curriculum={"patience": 1}, schedule="plateau", patience=1)
    whole = trainer(values).run()
    path = tmp_path / "checkpoint.pt"
    run = trainer(values, path)
    take = run._train_step

    def interrupted(batch):
        if run.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(batch)

    run._train_step = interrupted
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run.run()
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert f"stopped by SIGTERM after step {step}" in capsys.readouterr().err
    assert checkpoint.load(path)["step"] == step
    assert_same(trainer(values, path).run(), whole)


def test_outside_the_main_thread_it_trains_all_the_same():
    results = []
    thread = threading.Thread(target=lambda: results.append(trainer(params()).run()))
    thread.start()
    thread.join()
    assert_same(results[0], trainer(params()).run())


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "absent"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, capsys, damage):
    values = params()
    whole = trainer(values).run()
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        kill_at(trainer(values, path), 13).run()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        middle = len(content) // 2
        content[middle : middle + 2000] = bytes(2000)
        path.write_bytes(content)
    else:
        path.unlink()
    result = trainer(values, path).run()
    said = capsys.readouterr().err
    assert "resuming from the one before, checkpoint.previous.pt, step 5" in said
    assert str(path) in said
    assert_same(result, whole)


def test_no_readable_checkpoint_is_an_error(tmp_path):
    path = tmp_path / "checkpoint.pt"
    assert checkpoint.load(path) is None
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be read .*; delete .* to train from the start"):
        checkpoint.load(path)


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    """A limit on the size of files stands for the full disk: both fail in the middle of a write."""
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1, "weights": torch.zeros(1000)})
    before = hash_file(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match=r"could not be written .*the one before is kept"):
            checkpoint.save(path, {"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert hash_file(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    checkpoint.save(path, {"step": 3, "weights": torch.zeros(10)})
    assert hash_file(checkpoint.previous(path)) == before
    assert checkpoint.load(path)["step"] == 3


def test_a_disk_that_fills_up_during_a_run_costs_what_was_done_since_the_last_checkpoint(tmp_path, monkeypatch):
    """The run ends with a line that says so; once there is room it ends as if there had always been."""
    values = params(curriculum={"patience": 1})
    whole = trainer(values).run()
    path = tmp_path / "checkpoint.pt"
    run, save = trainer(values, path), torch.save

    def full(state, temporary):
        if state["step"] == 15:
            with open(temporary, "wb") as file:
                file.write(bytes(1000))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, temporary)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"could not be written \(.*No space left on device\); the one before is kept"):
        run.run()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.pt", "checkpoint.pt"]
    assert checkpoint.load(path)["step"] == 10
    monkeypatch.undo()
    assert_same(trainer(values, path).run(), whole)


def test_another_process_finds_the_step_that_the_first_one_chose(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for step in (5, 10):
        checkpoint.save(path, {"step": step})
    assert checkpoint.load_at(path, 5) == {"step": 5}
    assert checkpoint.load_at(path, 10) == {"step": 10}
    with pytest.raises(UserError, match="step 7 is not here"):
        checkpoint.load_at(path, 7)


def test_a_run_under_other_params_or_data_is_refused_naming_what_changed(tmp_path):
    values, inputs = params().model_dump(mode="json"), {"index": "a" * 64, "recipe": "b"}
    claim(tmp_path, values, inputs)
    claim(tmp_path, values | {"flip": False}, inputs)  # nothing had been trained yet
    claim(tmp_path, values, inputs)
    checkpoint.save(tmp_path / "checkpoint.pt", {"step": 5})
    claim(tmp_path, values, inputs)
    changed = params(learning_rate=0.1, curriculum={}).model_dump(mode="json")
    with pytest.raises(UserError) as refused:
        claim(tmp_path, changed, inputs | {"recipe": "c"})
    message = str(refused.value)
    assert "inputs.recipe was b and is c" in message
    assert "params.learning_rate was 0.002 and is 0.1" in message
    assert "params.curriculum was absent" in message
    assert "flip" not in message
    assert f"delete {tmp_path}" in message
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match="cannot resume"):
        claim(tmp_path, values, inputs)
