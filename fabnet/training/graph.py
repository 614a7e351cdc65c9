"""A training step as one CUDA graph: its kernels are launched together, and no step waits for Python.

A graph repeats kernels with the addresses and the numbers they were captured with. So whatever changes from step to
step lies in tensors of fixed places, and whoever replays a graph keeps all of these alive: the graph does not.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Steps that are taken before a capture: memory, handles and state of the optimiser come into being in the first ones,
# and cuDNN chooses its algorithms.
_WARM_UP = 3


class Graph:
    """The captured step.

    Attributes:
        result: what `step` returned, overwritten by every replay.
    """

    def __init__(self, step: Callable[[], Tensor], device: torch.device) -> None:
        """Capture `step`, which takes all it needs from tensors of fixed places.

        Several steps are taken before; `unchanged` puts back what they changed.

        Args:
            step: without arguments; nothing in it may wait for the device.
            device: a GPU.

        Raises:
            RuntimeError: it cannot be captured.
        """
        # Not the default stream, which cannot be captured; the same for both, as autograd remembers streams.
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                step()
        torch.cuda.current_stream(device).wait_stream(stream)
        gc.collect()  # what is freed while capturing may belong to another graph
        self._graph = torch.cuda.CUDAGraph()
        # Threads that decode pin memory and ask for events meanwhile, which a stricter mode takes for mistakes.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self.result = step()

    def replay(self) -> Tensor:
        """Take the captured step; its result, which the next replay overwrites."""
        self._graph.replay()
        return self.result


@contextmanager
def unchanged(state: Callable[[], list[Tensor]]) -> Iterator[None]:
    """Put tensors back, in their places, to what they were; those that were not there become zero.

    Args:
        state: all tensors that change from step to step. What an optimiser adds in its first step is zero before.
    """
    before = [(tensor, tensor.clone()) for tensor in state()]
    try:
        yield
    finally:
        kept = {id(tensor) for tensor, _ in before}
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
            for tensor in state():
                if id(tensor) not in kept:
                    tensor.zero_()
