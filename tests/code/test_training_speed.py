"""What makes a step fast is there: one call of the encoder, bf16, channels last, fused updates, nothing that waits."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SIZE, Blobs, losses_per_step, params, trainer
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks._authors_loop import AuthorsLoop
from benchmarks._floor import Ceilings, floor
from benchmarks._step_memory import kept_by_part
from fabnet.networks.fabnet import FabNet
from fabnet.training.batches import Batches
from fabnet.training.world import World

ROOT = Path(__file__).parents[2]
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

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


@ON_GPU
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


@ON_GPU
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


# -- the benchmark --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", [1, 3])
def test_the_port_of_the_authors_loop_is_the_same_function_of_the_same_weights(sources):
    """In evaluation mode: in training, batch norm sees one view at a time there and all of them in ours."""
    torch.manual_seed(0)
    authors = AuthorsLoop(32, 4, 16, torch.device("cpu"))
    ours = FabNet(32, 4, 16, sources).eval()
    pairs = [(authors.encoder, ours.encoder), (authors.decoder, ours.flow_decoder)]
    if sources > 1:
        pairs.append((authors.mask, ours.confidence_decoder))
    for theirs, own in pairs:
        own.layers.load_state_dict(theirs.eval().state_dict())
    authors.mask.eval()
    views = torch.rand(1 + sources, 5, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = (ours(views) - views[0]).abs().mean()
        torch.testing.assert_close(authors.loss(list(views)), expected, rtol=1e-5, atol=0)


def test_the_floor_by_hand():
    """An encoder of 8 px and a flow decoder, layer by layer."""
    model = FabNet(8, 2, 4, 1)
    # (multiply-adds, values read, values written, first) of encoder layers, for the two views.
    encoder = [(32 * 3 * 16, 192, 32, True), (16 * 2 * 16, 32, 16, False), (4 * 4 * 16, 16, 4, False)]
    # Upsampled maps of 2, 4 and 8 px: inputs a quarter, work 1/4 + 5/6 side / channels of the convolution's, if less.
    decoder = [(16 * 8 * 9, 8, 16, 1, 8), (32 * 4 * 9, 16, 32, 2, 4), (128 * 2 * 9, 32, 128, 4, 2)]
    operations = sum(2 * 2 * (2 if first else 3) * work for work, _, _, first in encoder)
    operations += sum(6 * work * min(1, 1 / 4 + 5 / 6 * side / into) for work, _, _, side, into in decoder)
    values = sum(2 * (2 * (read + out) + (0 if first else read)) for _, read, out, first in encoder)
    values += sum(2 * (read + out) + read for _, read, out, _, _ in decoder)
    weights = sum(parameter.numel() for parameter in model.parameters())
    least = floor(model, 1, 3, 8, Ceilings(1e9, 1e6))
    assert least.operations == pytest.approx(3 * operations)
    assert least.moved == 3 * 2 * values + 20 * weights
    assert least.seconds >= max(least.operations / 1e9, least.moved / 1e6)


def test_memory_by_part_adds_up():
    run = trainer(params(sources=3))
    batch = next(run.train.iterate(0, 1))
    parts = kept_by_part(run, batch)
    assert set(parts) == {"encoder", "flow_decoder", "confidence_decoder", "warp and loss"}
    # The first convolution alone keeps its input: 16 samples of four views.
    assert parts["encoder"] > 4 * 16 * 3 * SIZE * SIZE * 4 / 1e6
    smaller = kept_by_part(trainer(params(sources=1)), next(trainer(params(sources=1)).train.iterate(0, 1)))
    assert sum(smaller.values()) < 0.7 * sum(parts.values())


BARE = """
import runpy, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
allowed = set(sys.stdlib_module_names) | {"torch", "numpy", "pyarrow", "yaml", "_yaml", "PIL", "fabnet", "benchmarks"}
# What `pip install torch` brings along.
allowed |= {"torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"}
allowed |= {"filelock", "fsspec", "triton", "setuptools", "pkg_resources", "_distutils_hack", "nvidia", "cuda"}

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        known = name.partition(".")[0] in allowed or name.startswith("_sysconfigdata")
        return super().find_spec(name, path, target) if known else None

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Bare]
for name in ("simplejpeg", "pydantic", "pandas", "cv2", "av"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is here")
sys.argv = ["train_step.py", *sys.argv[1:]]
runpy.run_path("benchmarks/train_step.py", run_name="__main__")
"""


def test_the_benchmark_runs_on_a_bare_image():
    """With torch, numpy, pyarrow, PyYAML and Pillow alone, in one command; at a tiny size here."""
    options = ["--size=16", "--filters=2", "--batch=2", "--rounds=1", "--side=64", "--workers=2", "--threads=1"]
    command = [sys.executable, "-c", BARE, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout
    assert re.search(r"ceilings \S+ Tflop/s bf16, \S+ GB/s", said)
    assert said.count("loader alone") == 2
    assert said.count(", Pillow)") == 2
    for sources in (1, 3):
        assert f"\n{sources} source(s), batch 2: " in said
        for figure in ("times the authors' loop, fp32", "the loader, times the fastest step", "lost to data, %"):
            (value,) = re.findall(rf"^{sources} +{re.escape(figure)} +(-?[\d.]+)   ", said, re.M)
            assert np.isfinite(float(value))
    for row in ("authors' loop, fp32", "ours", "ours, direct"):
        assert len(re.findall(rf"^{row}  +[\d.]+ +[\d.]+ +[\d.]+$", said, re.M)) == 2
