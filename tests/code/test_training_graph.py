"""Steps replayed from a graph, and samples drawn where the frames are, are those of plain training, bit for bit."""

import sys
from contextlib import contextmanager, nullcontext
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from simulated_graph import simulate, tensors
from small_runs import Damaged, params, trainer
from test_training_resume import Killed, assert_same, kill_at
from torch._dynamo.exc import BackendCompilerFailed
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fabnet.errors import UserError
from fabnet.training import checkpoint, step
from fabnet.training.graph import Graph
from fabnet.training.world import World

CASES = {
    "adam": {"optimiser": "adam", "jitter": 0.1, "schedule": "linear"},
    "sgd": {"optimiser": "sgd", "schedule": "plateau", "patience": 1, "precision": "bf16", "decoder": "factored"},
    "muon": {"optimiser": "muon", "warm_up": 0.3, "views": 3, "sources": 2, "shared_decoder": True, "flow_stride": 2},
    "histograms": {"views": 3, "sources": 2, "histograms": 5.0},
    "curriculum": {"sources": 3, "jitter": 0.1, "curriculum": {"patience": 1, "longest": 48}},
    "rotation": {"objective": "rotation"},
    "split_brain": {"objective": "split_brain"},
}


# Samples that the device draws, in all cases; those that threads read, in one.
@pytest.mark.parametrize(("case", "resident"), [*((case, True) for case in CASES), ("curriculum", False)])
def test_a_replayed_run_is_the_plain_one(case, resident, monkeypatch):
    """Losses, windows, best and last weights; tracks of three frames pad a sample of four views."""
    values, length = params(**CASES[case], samples=160), 3 if case == "curriculum" else 10
    plain = trainer(values, length=length).run()
    simulate(monkeypatch)
    run = trainer(values, length=length, resident=resident)
    result = run.run()
    assert run.training.captured
    assert_same(result, plain)


class Constants(TorchFunctionMode):
    """Refuses tensors of values that Python holds: they come from the host."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor):
            raise RuntimeError(f"{function} while the device is captured")
        return function(*args, **(kwargs or {}))


class Captured(TorchDispatchMode):
    """Refuses what a capture would: operators that touch memory of the host. The device `meta` holds no numbers, so
    that whatever asks for one, or for a size that depends on one, is an error of its own."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        elsewhere = {str(value.device) for value in tensors((args, kwargs, output))} - {"meta"}
        if elsewhere:
            raise RuntimeError(f"{function} on {elsewhere} while the device is captured")
        return output


@pytest.mark.parametrize(("case", "resident"), [*((case, True) for case in CASES), ("curriculum", False)])
def test_a_step_touches_the_device_alone_and_asks_it_nothing(case, resident, monkeypatch):
    """Fused updates have no version for `meta`; what they are given is looked at."""
    updates = []
    optimisers = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(optimisers, "_get_fused_kernels_supported_devices", lambda: ["cuda", "meta"])
    build = step.optimiser_of

    def on_meta(model, values, rate):
        """Optimisers look at the learning rate when they are made, and never again."""
        optimiser = build(model, values, torch.tensor(0.1))
        for part in (optimiser, getattr(optimiser, "adam", optimiser)):
            part.param_groups[0]["lr"] = torch.zeros((), device="meta")
        return optimiser

    monkeypatch.setattr(step, "optimiser_of", on_meta)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # has no version for `meta` either
    for name in ("_fused_adam_", "_fused_sgd_"):
        monkeypatch.setattr(torch, name, lambda *weights, lr, found_inf, **rest: updates.append((lr, found_inf)))
    run = trainer(params(**CASES[case]), world=World(device=torch.device("meta")), length=3, resident=resident)
    loaded = run.train.load(0) if resident else run.train._sent(run.train.load(0))
    run._train_step(loaded)  # the optimiser's state comes into being
    updates.clear()
    with Captured(), Constants():
        run.training._step()
    assert {value.device.type for values in updates for value in values} == {"meta"}
    assert len(updates) == 1


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x[torch.tensor([1, 2])],
        lambda x: torch.tensor([1, 2], device=x.device),
        lambda x: torch.from_numpy(np.ones(3)).to(x.device),
        lambda x: x.cpu(),
        lambda x: x + torch.ones(3),
    ],
)
def test_what_cannot_be_captured_is_refused(mistake):
    with pytest.raises((RuntimeError, NotImplementedError)), Captured(), Constants():
        mistake(torch.empty(3, device="meta"))


@pytest.fixture
def simulated(monkeypatch):
    simulate(monkeypatch)


def test_a_killed_run_is_captured_anew_and_ends_as_if_never_killed(tmp_path, simulated):
    """From a checkpoint the optimiser's tensors lie elsewhere. The run that goes on reads frames; the other drew."""
    values = params(optimiser="muon", schedule="linear", curriculum={"patience": 1}, corrupt_limit=1)
    whole = trainer(values.model_copy(update={"cuda_graph": False}), frames=Damaged({7})).run()
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        kill_at(trainer(values, path, frames=Damaged({7}), resident=True), 13).run()
    run = trainer(values, path, frames=Damaged({7}))
    state = checkpoint.load(path)
    assert_same(run.run(), whole)
    assert run.training.captured
    # The same trainer, put back, goes on from there again.
    run.load_state_dict(state)
    assert not run.training.captured
    assert_same(run.run(), whole)


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "muon"])
def test_a_replayed_loss_that_is_not_finite_takes_no_step(tmp_path, simulated, optimiser):
    run = trainer(params(optimiser=optimiser), tmp_path / "checkpoint.pt", resident=True)
    take, before = run._train_step, {}

    def poisoned(loaded):
        if run.step == 12:
            with torch.no_grad():
                run.model.encoder.layers[-1].weight.fill_(3e38)
            before.update({name: value.clone() for name, value in run.model.named_parameters()})
        return take(loaded)

    run._train_step = poisoned
    with pytest.raises(UserError, match="not finite in step 13, which was not taken"):
        run.run()
    for name, value in run.model.named_parameters():
        assert torch.equal(value, before[name]), name


def test_a_graph_is_captured_for_a_shape(simulated):
    """A batch of another shape is no batch of the graph's; nor is one of fewer samples, as the last may be."""
    run, plain = trainer(params()), trainer(params(cuda_graph=False))
    losses = []
    for one in (run, plain):
        batches = [one.train.load(0), one.train.load(1), one.train.load(2, 8), one.train.load(3)]
        losses.append([float(one._train_step(batch)) for batch in batches])
    assert losses[0] == losses[1]


def test_a_step_that_cannot_be_captured_goes_on_without_a_graph(monkeypatch, capsys):
    simulate(monkeypatch)
    plain = trainer(params(cuda_graph=False)).run()

    def refuse(step, device):
        for _ in range(3):
            step()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore of it")

    monkeypatch.setattr(step, "Graph", refuse)
    run = trainer(params())
    assert_same(run.run(), plain)
    assert not run.training.captured
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "captured" in line]
    assert said == (
        "warning: train: the step could not be captured as a CUDA graph (CUDA error: operation not permitted when "
        "stream is capturing); training goes on without one, with the same losses"
    )


def test_without_a_compiler_it_trains_uncompiled(monkeypatch, capsys):
    plain = trainer(params()).run()

    def failing(model):
        def call(*_):
            raise BackendCompilerFailed(call, RuntimeError("Failed to find C compiler"), None)

        return call

    monkeypatch.setattr(torch, "compile", failing)
    assert_same(trainer(params(compile=True)).run(), plain)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "torch.compile" in line]
    assert "warning: train: torch.compile failed (" in said
    assert "Failed to find C compiler" in said


def test_a_step_that_is_tried_for_the_compiler_leaves_no_trace(monkeypatch):
    """The losses are those of a run without the step that is taken to compile: momentum of SGD begins at zero."""
    monkeypatch.setattr(torch, "compile", lambda model: model)
    plain, compiled = (trainer(params(optimiser="sgd", samples=160, compile=value)) for value in (False, True))
    assert_same(compiled.run(), plain.run())


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_a_captured_run_is_the_eager_one_on_a_gpu(case):
    """Samples read by threads and drawn on the card, and the step as a graph or not: the same losses bit for bit."""
    world, losses = World(device=torch.device("cuda", 0)), []
    for resident, cuda_graph in ((False, False), (False, True), (True, True)):
        run = trainer(params(**CASES[case], cuda_graph=cuda_graph, workers=2), world=world, resident=resident)
        taken = []
        for loaded in run.train.iterate(0, 20):
            taken.append(run._train_step(loaded).clone())
            run.step += 1
        assert run.training.captured == cuda_graph
        losses.append(torch.stack(taken).tolist())
    assert losses[0] == losses[1] == losses[2]


def test_a_capture_keeps_to_the_rules(monkeypatch):
    """Warm-up and capture on one stream that is not the default, which waits for it in between; other threads may go on
    with theirs."""
    seen, default, side = [], Mock(name="default"), Mock(name="side")
    default.wait_stream = lambda stream: seen.append(("default waits", stream))
    side.wait_stream = lambda stream: seen.append(("side waits", stream))

    @contextmanager
    def within(name, *arguments, **options):
        seen.append((name, *arguments, options))
        yield
        seen.append(f"end of {name}")

    captured = Mock(replay=lambda: seen.append("replayed"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: side)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: default)
    monkeypatch.setattr(torch.cuda, "stream", partial(within, "stream"))
    monkeypatch.setattr(torch.cuda, "graph", partial(within, "graph"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: captured)
    loss = torch.zeros(())

    def step():
        seen.append("step")
        return loss

    made = Graph(step, torch.device("cuda", 0))
    options = {"stream": side, "capture_error_mode": "thread_local"}
    assert seen == [
        ("side waits", default),
        ("stream", side, {}),
        *["step"] * 3,
        "end of stream",
        ("default waits", side),
        ("graph", captured, options),
        "step",
        "end of graph",
    ]
    assert made.replay() is loss
    assert seen[-1] == "replayed"
