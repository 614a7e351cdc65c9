"""Our training step against a plain port of the authors' loop (_authors_loop.py), at 256 px and 32 filters, in one run.

The port has the source frames and the batch of ours. Rounds alternate between the two, so that a busy machine slows
both; ratios are medians over rounds. A row is printed as soon as it is measured. Before them memory, the loader alone
and the time that the loop loses to it; at the end the figures that were asked for.

    python benchmarks/train_step.py [--batch 8] [--rounds 5] [--sources 1 3] [--seconds 120] [--threads 1 --clock cpu]

It needs torch, numpy, pyarrow and PyYAML, and Pillow or simplejpeg for the loader; nothing has to be installed of
fabnet. On a GPU there are also the port with TF32, and our step as a CUDA graph, with other kernels, and compiled: in
parts and as a whole, last, since that takes longest. `busy %` is the union of the kernels' times, from torch.profiler,
over the time of a step without the profiler; `ready s` is the time until a step could be run (capture, compilation).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare image has no fabnet installed

from benchmarks._floor import CLOCKS, Ceilings, ceilings, floor
from benchmarks._our_step import FP32, TF32, OurStep, Setting, our_trainer, ways
from benchmarks._rows import Loading, TimeBox, compare, compile_cache, describe, fastest, header, line, loading
from benchmarks._step_memory import kept_by_part
from fabnet.networks.fabnet import FabNet


def report(setting: Setting, sources: int, ceiling: Ceilings, box: TimeBox) -> dict[str, float]:
    """Print what one number of sources takes; the figures that were asked for, by name.

    Args:
        setting: of the comparison.
        sources: of a sample.
        ceiling: of the device.
        box: rows that do not fit are named and left out.
    """
    torch.manual_seed(0)
    batch = setting.drawn(sources)
    ours = our_trainer(setting, sources)
    assert isinstance(ours.model, FabNet)
    least = floor(ours.model, sources, setting.batch, setting.size, ceiling)
    work = f"{least.operations / 1e9:.3g} Gflop and {least.moved / 1e9:.3g} GB at least per step"
    say(f"\n{sources} source(s), batch {setting.batch}: {work}")
    parts = ", ".join(f"{part} {mb:.0f}" for part, mb in kept_by_part(ours, batch).items())
    say(f"ours keeps for backward, MB: {parts}")
    del ours
    found = {resident: fed(setting, sources, resident) for resident in (True, False)}
    for data in found.values():
        say(
            f"loader alone {data.alone:.0f} samples/s ({data.where}), ours on a batch that is there {data.bare:.0f}, "
            f"fed {data.fed:.0f}"
        )
    say(header(setting.on_gpu))
    makers = ways(setting, sources, batch, ceiling)
    rows, missing = compare(makers, setting, box, lambda row: say(line(row, least, setting)))
    for name, reason in missing.items():
        say(f"{name}: not measured: {reason}")
    best = fastest(rows)
    return {
        "times the authors' loop, fp32": best.times.get(FP32, np.nan),
        "times the authors' loop, tf32": best.times.get(TF32, np.nan),
        "of the floor, %": 100 * least.seconds / best.seconds,
        "decoding ahead, times the fastest step": found[False].alone * best.seconds / setting.batch,
        "lost to data, decoding ahead, %": 100 * found[False].lost,
        "lost to data, frames on the device, %": 100 * found[True].lost,
    }


def fed(setting: Setting, sources: int, resident: bool) -> Loading:
    """What our step loses to its data.

    Args:
        setting: of the comparison.
        sources: of a sample.
        resident: frames lie on the device; else threads decode them.
    """
    trainer = our_trainer(setting, sources, resident, cuda_graph=setting.on_gpu)
    return loading(OurStep(trainer, next(trainer.train.iterate(0, 1))), setting)


def say(text: str) -> None:
    print(text, flush=True)


ASKED = {
    "times the authors' loop, fp32": {1: ">= 5 on 2 cores", 3: ">= 3.5 on 2 cores"},
    "times the authors' loop, tf32": dict.fromkeys((1, 3), ">= 3 on a GPU"),
    "of the floor, %": dict.fromkeys((1, 3), ">= 30 on a GPU"),
    "decoding ahead, times the fastest step": dict.fromkeys((1, 3), ">= 1.5 on 16 cores"),
    "lost to data, decoding ahead, %": dict.fromkeys((1, 3), "-"),
    "lost to data, frames on the device, %": dict.fromkeys((1, 3), "< 3 on a GPU"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, help="steps of one time; on a GPU as many as take a fifth of a second")
    parser.add_argument("--sources", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--seconds", type=float, help="for all rows; 120 on a GPU, no limit on a CPU where not given")
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
        repeats=options.repeats or (None if on_gpu else 1),
        clock=options.clock,
        workers=options.workers or os.cpu_count() or 1,
    )
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    began = time.perf_counter()
    box = TimeBox(options.seconds or (120.0 if on_gpu else None))
    ceiling = ceilings(device, options.clock, options.side)
    say(describe(device, ceiling))
    if on_gpu:
        say(f"what torch.compile keeps: {compile_cache()}")
    figures = {}
    for place, sources in enumerate(options.sources):
        figures[sources] = report(setting, sources, ceiling, box.part(1 / (len(options.sources) - place)))
    say(f"\n{'sources':9}{'figure':40}{'measured':>10}   asked for")
    for sources, own in figures.items():
        for name, value in own.items():
            if np.isnan(value):
                continue  # the port with TF32, where there is no GPU
            say(f"{sources:<9}{name:40}{value:10.2f}   {ASKED[name].get(sources, '-')}")
    say(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
