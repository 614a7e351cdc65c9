"""A training step: draw and augment, forward, backward, optimiser, sums; eager, or as one CUDA graph.

Both run the same code on the same tensors. All that changes from step to step is in tensors of fixed places, so that
a graph finds it there: the batch, the learning rate, the step's number and the curriculum's window.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fabnet.errors import first_line
from fabnet.training.batches import Batch, Batches, LoadedBatch
from fabnet.training.graph import Graph, unchanged
from fabnet.training.objective import LOSSES, every_view_loss
from fabnet.training.optimiser import Guard, optimiser_of, rate_on, restore
from fabnet.training.schedule import Window, samples_in_window
from fabnet.training.world import World, autocast

if TYPE_CHECKING:
    from fabnet.config import VariantParams

logger = logging.getLogger(__name__)

Network = Callable[[Tensor, Tensor | None], Tensor | tuple[Tensor, Tensor]]


class Losses(NamedTuple):
    """Of every sample, (B,): what curves and validation tell, and what is minimised.

    They are one for all variants but those with `histograms`, of which the error of what embeddings tell is minimised
    beside the loss of the warp, so that curves of all variants of FAb-Net can be compared.
    """

    told: Tensor
    minimised: Tensor


class TrainingStep:
    """Steps of one run, and the state that they change besides the model.

    It owns the graph, if there is one, and every tensor whose place the graph knows.

    Args:
        model: on the device of `world`; with several processes and synchronised batch norm, converted already.
        batches: that are learnt from.
        params: the variant's values.
        world: the processes that train together. Several take steps as they are written, without a graph.
        title: of the run, for messages.

    Attributes:
        optimiser: of the weights that are trained.
        guard: takes note of a loss that is not finite.
        sums: over the steps since they were last set to zero: loss of all samples, of those trained on, threshold.
        rate: the learning rate of the last step, on the host.
    """

    def __init__(self, model: nn.Module, batches: Batches, params: VariantParams, world: World, title: str) -> None:
        self.model, self.batches, self.params, self.world, self.title = model, batches, params, world, title
        self.network = self._network(torch.compile(model) if params.compile else model)
        device = world.device
        self._rate, self.rate = rate_on(device, params.learning_rate), params.learning_rate
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        # Ranks of the first sample in the window and of the one after the last; factor on the sum of their losses.
        self._ranks, self._share = torch.zeros(2, dtype=torch.int64, device=device), torch.zeros((), device=device)
        self._window: Window | None = None
        self._inputs: LoadedBatch | None = None
        self.optimiser = optimiser_of(model, params, self._rate)
        self.guard = Guard(self.optimiser, device)
        self.sums = torch.zeros(3, device=device)
        self._graph: Graph | None = None
        self._ready = False

    def _network(self, network: Any) -> Network:
        """What a step calls: the model, compiled or not, joined with those of the other processes."""
        if self.world.size > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the option's new name is younger than torch 2.7
                network = DistributedDataParallel(network, broadcast_buffers=False)
        call: Network = network
        return call

    def take(self, loaded: LoadedBatch, number: int, rate: float, window: Window | None = None) -> Tensor:
        """One step; the mean loss of all its samples, still on the device, until the next step.

        Args:
            loaded: from `batches`, on the device; of the same shape in every step of a run.
            number: of the step, from 1.
            rate: the learning rate.
            window: of the curriculum, if there is one.
        """
        self._place(loaded)
        self._number.fill_(number)
        self._rate.fill_(rate)
        self.rate = rate
        if window is not None and window != self._window:
            self._move(window)
        if not self._ready:
            self._prepare()
        return self._step() if self._graph is None else self._graph.replay()

    def _place(self, loaded: LoadedBatch) -> None:
        """Write the batch where the step reads it."""
        shapes = [None if tensor is None else tensor.shape for tensor in loaded[:3]]
        if self._inputs is None or shapes != [None if t is None else t.shape for t in self._inputs[:3]]:
            self._inputs = LoadedBatch(*(None if t is None else torch.empty_like(t) for t in loaded[:3]))  # type: ignore[arg-type]
            self.forget()  # a graph reads other places
        for place, tensor in zip(self._inputs[:3], loaded[:3], strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor, non_blocking=True)

    def _move(self, window: Window) -> None:
        first, end = window.ranks(self.params.batch_size)
        self._ranks[0].fill_(first)
        self._ranks[1].fill_(end)
        self._share.fill_(self.world.size / (end - first))
        self._window = window

    @property
    def captured(self) -> bool:
        """Whether steps are replays of a graph."""
        return self._graph is not None

    def forget(self) -> None:
        """Capture anew at the next step, as the tensors that a step changes may lie elsewhere from now on."""
        self._graph, self._ready = None, False

    def restore(self, optimiser: dict[str, Any], sums: Tensor) -> None:
        """Take over the state of a checkpoint.

        Args:
            optimiser: its `state_dict`.
            sums: see there.
        """
        restore(self.optimiser, optimiser)
        self.sums.copy_(sums)
        self.forget()

    def _prepare(self) -> None:
        """Compile and capture what the params ask for, before a step counts."""
        self._ready = True
        captures = self.params.cuda_graph and can_capture(self.world)
        if self.params.cuda_graph and self.world.device.type == "cuda" and not captures and self.world.first:
            logger.info(f"{self.title}: steps of several processes are not captured as CUDA graphs")
        if not (self.params.compile or captures):
            return
        with unchanged(self._state):
            if self.params.compile:
                self._compile()
            if captures:
                self._capture()
        self.optimiser.zero_grad(set_to_none=True)

    def _compile(self) -> None:
        """Compilation happens in a first step; where it fails, steps are as they are written."""
        from torch._dynamo.exc import TorchDynamoException

        try:
            self._step()
        except TorchDynamoException as error:
            if isinstance(self.network, DistributedDataParallel):
                self.network.module = self.model
            else:
                self.network = self.model
            why = first_line(getattr(error, "inner_exception", error))
            logger.warning(f"{self.title}: torch.compile failed ({why}); training goes on without it")

    def _capture(self) -> None:
        try:
            self._graph = Graph(self._step, self.world.device)
        except RuntimeError as error:
            logger.warning(
                f"{self.title}: the step could not be captured as a CUDA graph ({first_line(error)}); training goes on "
                "without one, with the same losses"
            )

    def _state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        parts = [self.optimiser, getattr(self.optimiser, "adam", None)]
        of_optimiser = [
            value
            for part in parts
            if part is not None
            for values in part.state.values()
            for value in values.values()
            if isinstance(value, Tensor)
        ]
        of_model = [*self.model.parameters(), *self.model.buffers()]
        return [*of_model, *of_optimiser, self.sums, self.guard.found, self.guard.first]

    def _step(self) -> Tensor:
        """The step on what lies in the places that `take` writes to."""
        assert self._inputs is not None
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.losses(self.network, self.batches.finish(self._inputs))
        # Alone and without a curriculum the loss needs neither other processes nor the order of the samples.
        if self.world.size == 1 and self.params.curriculum is None:
            minimised = losses.minimised.mean()
            loss = losses.told.detach().mean()
            self.sums[0] += loss
        else:
            loss, minimised = self._shared_loss(losses)
        minimised.backward()
        self.guard.watch(loss + 0 * minimised.detach(), self._number)
        self.optimiser.step()
        return loss

    def _shared_loss(self, losses: Losses) -> tuple[Tensor, Tensor]:
        """The mean loss of the global batch, and what this process minimises: the mean over processes of the latter,
        which is what they step along, is the mean loss of the samples trained on."""
        batch = self.params.batch_size
        losses_B = self.world.gather(losses.told.detach(), batch)
        loss = losses_B.mean()
        if self.params.curriculum is None:
            self.sums[0] += loss
            return loss, losses.minimised.sum() * (self.world.size / batch)
        keep_B, threshold = samples_in_window(losses_B, self._ranks)
        kept = losses_B.where(keep_B, 0).sum() / (self._ranks[1] - self._ranks[0])
        self.sums += torch.stack((loss, kept, threshold))
        here = self.world.share(np.arange(batch))
        keep_b = keep_B[here[0] : here[-1] + 1]
        return loss, losses.minimised.where(keep_b, 0).sum() * self._share

    def losses(self, network: Network, batch: Batch) -> Losses:
        """The losses of every sample.

        Args:
            network: the model, or what a step calls.
            batch: finished.
        """
        with autocast(self.params.precision, self.world.device):
            output = network(batch.views, batch.mask)
        output, error_B = output if isinstance(output, tuple) else (output, None)
        if self.params.views is None:
            told_B = LOSSES[self.params.objective](output, batch.views[0])
        else:
            told_B = every_view_loss(output, batch.views, batch.mask)
        return Losses(told_B, told_B if error_B is None else told_B + self.params.histograms * error_B)


def can_capture(world: World) -> bool:
    """Whether steps can be CUDA graphs: on a GPU, and by one process, since others would have to keep in step."""
    return world.device.type == "cuda" and world.size == 1
