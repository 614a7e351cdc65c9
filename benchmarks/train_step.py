"""Our training step against a plain port of the authors' loop (_authors_loop.py), at 256 px and 32 filters, in one run.

The port has the source frames and the batch of ours. Rounds alternate between the two, so that a busy machine slows
both; ratios are medians over rounds. Then memory, the loader alone, the time that the loop loses to it, and the figures
that were asked for.

    python benchmarks/train_step.py [--batch 8] [--rounds 5] [--sources 1 3] [--threads 1 --clock cpu]

It needs torch, numpy, pyarrow and PyYAML, and Pillow or simplejpeg for the loader; nothing has to be installed of
fabnet. On a GPU there are also the port with TF32, our step compiled, and our step as one CUDA graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare image has no fabnet installed

from benchmarks._authors_loop import AuthorsLoop
from benchmarks._floor import CLOCKS, Ceilings, ceilings, floor, seconds
from benchmarks._jpegs import Jpegs
from benchmarks._our_step import Setting, graphed, our_trainer
from benchmarks._step_memory import kept_by_part, peak_mb
from fabnet.networks.fabnet import FabNet
from fabnet.training.batches import LoadedBatch
from fabnet.training.loop import Trainer

FP32, TF32, OURS = "authors' loop, fp32", "authors' loop, tf32", "ours"


# -- rows of the table ----------------------------------------------------------------------------------------------


def ways(setting: Setting, sources: int, batch: LoadedBatch) -> tuple[dict[str, Callable[[], Any]], Trainer]:
    """Steps by name, each of them done once, and the trainer of ours. What cannot be done here is told and left out."""
    authors = AuthorsLoop(setting.size, setting.filters, setting.dimension, setting.device)
    ours, direct = our_trainer(setting, sources), our_trainer(setting, sources, decoder="direct")
    apart = [view.contiguous() for view in ours.train.finish(batch).views]

    def with_tf32() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        authors.step(apart)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    steps: dict[str, Callable[[], Any]] = {FP32: lambda: authors.step(apart)}
    if setting.on_gpu:
        steps[TF32] = with_tf32
    steps |= {OURS: lambda: ours._train_step(batch), f"{OURS}, direct": lambda: direct._train_step(batch)}
    for step in steps.values():
        step()
    if setting.on_gpu:
        for decoder in ("factored", "direct"):
            compiled = our_trainer(setting, sources, compile=True, decoder=decoder)
            add(steps, f"{OURS}, {decoder}, compiled", partial(once, partial(compiled._train_step, batch)))
            captured = our_trainer(setting, sources, decoder=decoder, cuda_graph=True)
            add(steps, f"{OURS}, {decoder}, graph", partial(graphed, captured, batch))
    return steps, ours


def once(step: Callable[[], Any]) -> Callable[[], Any]:
    step()
    return step


def add(steps: dict[str, Callable[[], Any]], name: str, make: Callable[[], Callable[[], Any]]) -> None:
    """Take in the step that `make` makes, or say why it cannot: an image may lack the C compiler of torch.compile."""
    try:
        steps[name] = make()
    except Exception as error:  # of a compiler or of the driver: any kind
        print(f"{name}: not measured: {(str(error).strip().splitlines() or [type(error).__name__])[0]}")


def compare(steps: dict[str, Callable[[], Any]], setting: Setting) -> dict[str, list[float]]:
    """Seconds per step of each, once per round, in turn."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for work in steps.values():
        for _ in range(3 if setting.on_gpu else 0):
            work()
    for _ in range(setting.rounds):
        for name, work in steps.items():
            times[name].append(seconds(work, setting.device, setting.repeats, setting.clock))
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times faster; nan where one was not measured."""
    if slow not in times or fast not in times:
        return float("nan")
    return statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))


# -- the record -----------------------------------------------------------------------------------------------------


def report(setting: Setting, sources: int, ceiling: Ceilings) -> dict[str, float]:
    """Print what one number of sources takes; the figures that were asked for, by name."""
    torch.manual_seed(0)
    shape = (1 + sources, setting.batch, setting.size, setting.size, 3)
    pictures = torch.randint(256, shape, dtype=torch.uint8, device=setting.device)
    batch = LoadedBatch(pictures, None, torch.arange(setting.batch, device=setting.device))
    steps, ours = ways(setting, sources, batch)
    times = compare(steps, setting)
    assert isinstance(ours.model, FabNet)
    least = floor(ours.model, sources, setting.batch, setting.size, ceiling)
    work = f"{least.operations / 1e9:.3g} Gflop and {least.moved / 1e9:.3g} GB at least per step"
    print(f"\n{sources} source(s), batch {setting.batch}: {work}")
    columns = ["samples/s", "of the floor", "times fp32"] + ["times tf32", "peak MB"] * setting.on_gpu
    print(f"{'':26}" + "".join(f"{column:>14}" for column in columns))
    for name, own in times.items():
        middle = statistics.median(own)
        values = [setting.batch / middle, least.seconds / middle, ratio(times, FP32, name)]
        if setting.on_gpu:
            values += [ratio(times, TF32, name), peak_mb(steps[name])]
        print(f"{name:26}" + "".join(f"{value:14.2f}" for value in values))
    parts = ", ".join(f"{part} {mb:.0f}" for part, mb in kept_by_part(ours, batch).items())
    print(f"ours keeps for backward, MB: {parts}")
    # By ratio, not by time: rounds in which the machine was busy slowed the port as well.
    fastest = max((name for name in times if name.startswith(OURS)), key=lambda name: ratio(times, FP32, name))
    figures = {
        "times the authors' loop, fp32": ratio(times, FP32, fastest),
        "times the authors' loop, tf32": ratio(times, TF32, fastest),
    }
    eaten = setting.batch / statistics.median(times[fastest])
    return figures | loader(ours, setting, eaten)


def loader(ours: Trainer, setting: Setting, eaten: float) -> dict[str, float]:
    """The loader alone, beside `eaten` samples per second, and the share of time that the loop loses to it."""
    count, unmeasured = (10 * setting.repeats, 5) if setting.on_gpu else (4, 1)

    def rate(work: Callable[[LoadedBatch], Any]) -> float:
        stream = ours.train.iterate(0, count + unmeasured)
        for _ in range(unmeasured):
            work(next(stream))
        return setting.batch * count / seconds(lambda: [work(loaded) for loaded in stream], setting.device, 1)

    held = next(ours.train.iterate(0, 1))
    alone = rate(lambda loaded: None)
    # In turn, so that what else the machine does slows all of them.
    pairs = []
    for _ in range(3):
        bare = setting.batch / seconds(lambda: ours._train_step(held), setting.device, count)
        pairs.append((bare, rate(ours._train_step)))
    lost = 100 * statistics.median(1 - together / bare for bare, together in pairs)
    bare, together = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert isinstance(ours.train.frames, Jpegs)
    where = f"{setting.workers} threads of {os.cpu_count()} cores, {ours.train.frames.decoder}"
    print(f"loader alone {alone:.0f} samples/s ({where}), ours on a batch that is there {bare:.0f}, fed {together:.0f}")
    return {"the loader, times the fastest step": alone / eaten, "lost to data, %": lost}


ASKED = {
    "times the authors' loop, fp32": {1: ">= 5 on 2 cores", 3: ">= 3.5 on 2 cores"},
    "times the authors' loop, tf32": dict.fromkeys((1, 3), ">= 3 on a GPU"),
    "the loader, times the fastest step": dict.fromkeys((1, 3), ">= 1.5 on 16 cores"),
    "lost to data, %": dict.fromkeys((1, 3), "< 5 on a GPU"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--side", type=int, help="of the matrices that the ceilings are measured with")
    parser.add_argument("--workers", type=int, help="threads of the loader; one per core by default")
    parser.add_argument("--threads", type=int, help="of the CPU; all by default")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: of this process, on a machine shared by many"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    on_gpu = device.type == "cuda"
    setting = Setting(
        device=device,
        size=options.size,
        filters=options.filters,
        dimension=8 * options.filters,
        batch=options.batch or (128 if on_gpu else 8),
        rounds=options.rounds,
        repeats=options.repeats or (20 if on_gpu else 1),
        clock=options.clock,
        workers=options.workers or os.cpu_count() or 1,
    )
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    began = time.perf_counter()
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads, no GPU"
    ceiling = ceilings(device, options.clock, options.side)
    tflop, gb = ceiling.operations_s / 1e12, ceiling.bytes_s / 1e9
    print(f"torch {torch.__version__}, {where}; ceilings {tflop:.3g} Tflop/s bf16, {gb:.3g} GB/s")
    figures = {sources: report(setting, sources, ceiling) for sources in options.sources}
    print(f"\n{'sources':9}{'figure':38}{'measured':>10}   asked for")
    for sources, own in figures.items():
        for name, value in own.items():
            if np.isnan(value):
                continue  # the port with TF32, where there is no GPU
            print(f"{sources:<9}{name:38}{value:10.2f}   {ASKED[name].get(sources, '-')}")
    print(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
