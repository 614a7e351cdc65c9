"""What makes a step fast is there: one call of the encoder, bf16, channels last, fused updates, nothing that waits."""

import threading

import numpy as np
import pytest
import torch
from small_runs import Blobs, losses_per_step, params, trainer
from torch.utils._python_dispatch import TorchDispatchMode

from fabnet.training.batches import Batches
from fabnet.training.world import World

# Operators whose result, or its size, the host has to wait for on a GPU.
WAITING = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2"}
CASES = {
    "plain": {"jitter": 0.1},
    "adam bf16": {"optimiser": "adam", "precision": "bf16", "decoder": "factored"},
    "curriculum": {"optimiser": "sgd", "curriculum": {}, "sources": 3, "start_from": "x", "freeze": ["flow_decoder"]},
}


class Waits(TorchDispatchMode):
    """Notes every operator that a GPU would make the host wait for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(item, torch.Tensor) and item.dtype == torch.bool
            for argument in args
            if isinstance(argument, (list, tuple))
            for item in argument
        )
        if name in WAITING or by_mask:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [10, 3])
def test_nothing_in_a_step_waits_for_the_device(case, length):
    """Augmentation, forward, backward, curriculum and optimiser; tracks of three frames need a mask for four views."""
    run = trainer(params(**CASES[case]), length=length)
    batches = list(run.train.iterate(0, 3))
    with Waits() as waits:
        for batch in batches:
            run._train_step(batch)
    assert waits.seen == []
    run.step = 3
    with Waits() as waits:
        run._log()
        bool(run.training.sums[0] > 0)
        run.training.sums[run.training.sums > 0]
    assert {"_local_scalar_dense", "index"} <= set(waits.seen)  # such things are seen


@pytest.mark.gpu
@pytest.mark.parametrize("resident", [False, True], ids=["read", "resident"])
@pytest.mark.parametrize("cuda_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_is_not_waited_for(case, cuda_graph, resident):
    values = params(**CASES[case], workers=2, cuda_graph=cuda_graph)
    run = trainer(values, world=World(device=torch.device("cuda", 0)), resident=resident)
    batches = run.train.iterate(0, 12)
    for _ in range(4):
        run._train_step(next(batches))
        run.step += 1
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            run._train_step(batch)
            run.step += 1
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert run._log() > 0


@pytest.mark.gpu
def test_batches_are_pinned_and_the_same_on_a_gpu():
    here, there = (
        Batches(
            Blobs(), trainer(params()).train.sampler, 16, World(device=torch.device(device)), mirror=True, workers=2
        )
        for device in ("cpu", "cuda")
    )
    assert there.load(0).pictures.is_pinned()
    for one, other in zip(here.iterate(0, 9), there.iterate(0, 9), strict=True):
        assert other.pictures.is_cuda
        assert torch.equal(one.pictures, other.pictures.cpu())
        assert torch.equal(here.finish(one).views, there.finish(other).views.cpu())


def test_the_host_asks_for_numbers_only_where_they_are_logged(monkeypatch):
    """In 120 steps: at every 50th, at validations (every 40th) and at checkpoints (every 60th)."""
    run = trainer(params(samples=1920, validation_every=640, checkpoint_every=960, workers=1))
    asked = set()

    def noted(plain):
        def call(tensor, *arguments, **options):
            if threading.current_thread() is threading.main_thread():
                asked.add(run.step)
            return plain(tensor, *arguments, **options)

        return call

    for name in ("tolist", "item", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, noted(getattr(torch.Tensor, name)))
    run.run()
    assert {50, 40, 60, 120} <= asked <= {0, 50, 100, 40, 80, 120, 60}


@pytest.mark.parametrize("sources", [1, 3])
def test_one_call_of_the_encoder_and_no_confidences_for_one_source(sources):
    run = trainer(params(sources=sources, precision="bf16"))
    seen = []
    for name in ("encoder", "flow_decoder", "confidence_decoder"):
        if part := getattr(run.model, name, None):
            part.register_forward_hook(lambda _, inputs, __, name=name: seen.append((name, len(inputs[0]))))
    convolution = run.model.encoder.layers[2]
    convolution.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    run._train_step(next(run.train.iterate(0, 1)))
    (before, after), *calls = seen
    expected = [("encoder", 16 * (1 + sources)), ("flow_decoder", 16 * sources)]
    assert calls == expected + [("confidence_decoder", 16 * sources)] * (sources > 1)
    assert after.dtype == torch.bfloat16
    for image in (before, after):
        assert image.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("sources", [1, 3])
@pytest.mark.parametrize("decoder", ["direct", "factored"])
def test_the_network_compiles_as_one_graph(monkeypatch, sources, decoder):
    """Without its last stage, which takes a C compiler and minutes: what is traced gives the same losses."""
    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_it(model, backend="aot_eager", fullgraph=True))
    eager, traced = (
        losses_per_step(trainer(params(sources=sources, decoder=decoder, compile=compiled)), 3)
        for compiled in (False, True)
    )
    np.testing.assert_allclose(traced, eager, rtol=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_updates_are_fused(optimiser):
    assert trainer(params(optimiser=optimiser)).training.optimiser.defaults["fused"] is True


def test_threads_read_ahead_of_the_network():
    """Two batches for each of them beside the one that is learnt from, and in the order of their numbers."""
    run = trainer(params(workers=3))
    read, names = [], set()
    load = run.train.load

    def noted(number, size=None):
        read.append(number)
        names.add(threading.current_thread().name.partition("_")[0])
        return load(number, size)

    run.train.load = noted
    batches = run.train.iterate(4, 40)
    first = next(batches)
    assert first.numbers.tolist() == list(range(64, 80))
    batches.close()  # waits for what was begun
    assert names == {"decode"}
    assert 1 <= len(read) <= 6
    assert {4} <= set(read) <= set(range(4, 10))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_last_batch_is_cut_to_the_samples_there_are(workers):
    run = trainer(params(workers=workers))
    sizes = [len(batch.numbers) for batch in run.train.iterate(0, 3, 40)]
    assert sizes == [16, 16, 8]
