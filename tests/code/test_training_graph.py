"""Steps replayed from a graph, and samples drawn where the frames are, are those of plain training, bit for bit."""

import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from simulated_graph import simulate, tensors
from small_runs import params, trainer
from test_training_resume import assert_same
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fabnet.training import step
from fabnet.training.world import World

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CASES = {
    "adam": {"optimiser": "adam", "jitter": 0.1, "schedule": "linear"},
    "sgd": {"optimiser": "sgd", "schedule": "plateau", "patience": 1, "precision": "bf16", "decoder": "factored"},
    "muon": {"optimiser": "muon", "warm_up": 0.3, "views": 3, "sources": 2, "shared_decoder": True, "flow_stride": 2},
    "curriculum": {"sources": 3, "jitter": 0.1, "curriculum": {"patience": 1, "longest": 96}},
    "rotation": {"objective": "rotation"},
    "split_brain": {"objective": "split_brain"},
}


@pytest.mark.parametrize("resident", [False, True], ids=["read", "resident"])
@pytest.mark.parametrize("case", CASES)
def test_a_replayed_run_is_the_plain_one(case, resident, monkeypatch):
    """Losses, windows, best and last weights; tracks of three frames pad a sample of four views."""
    values, length = params(**CASES[case]), 3 if case == "curriculum" else 10
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


@pytest.mark.parametrize("resident", [False, True], ids=["read", "resident"])
@pytest.mark.parametrize("case", CASES)
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
