"""A CUDA graph as a CPU can have it: the operators of one step, repeated on the same tensors with the same numbers.

What Python decides is frozen, as in a graph: a number that a step takes from elsewhere than a tensor stays what it was
at the capture, and a tensor that is replaced, not written to, is not seen.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, tensors(output)))
        return output


class SimulatedGraph:
    """In the place of `fabnet.training.graph.Graph`. The capture, which computes nothing on a GPU, takes a step here:
    `unchanged` undoes it like those of the warm-up."""

    def __init__(self, step, device):
        for _ in range(3):
            step()
        with Recorder() as recorder:
            self.result = step()
        self.calls = recorder.calls

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, outputs in self.calls:
            again = tensors(function(*args, **kwargs))
            for place, value in zip(outputs, again, strict=True):
                if value.data_ptr() != place.data_ptr():
                    place.copy_(value)
        return self.result


def simulate(monkeypatch):
    """Let runs on the CPU be captured."""
    monkeypatch.setattr("fabnet.training.step.Graph", SimulatedGraph)
    monkeypatch.setattr("fabnet.training.step.can_capture", lambda world: world.size == 1)
