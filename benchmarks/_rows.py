"""Steps measured one after the other inside a time box: each becomes a row, which is printed at once."""

from __future__ import annotations

import gc
import importlib
import math
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch._dynamo  # by the first optimiser otherwise: an alarm in the midst of it would leave half of it behind

from benchmarks._floor import Ceilings, Floor, seconds
from benchmarks._jpegs import Jpegs
from benchmarks._our_step import FP32, OURS, TF32, OurStep, Setting, Step
from fabnet.training.batches import LoadedBatch

_ROUND = 0.2  # seconds that the steps of one time take at least on a GPU


class Late(BaseException):
    """The time box is over. No Exception, which a compiler or the training loop would take for a failure of its own."""


class TimeBox:
    """So many seconds from now on; None: no limit."""

    def __init__(self, limit: float | None) -> None:
        self.end = math.inf if limit is None else time.monotonic() + limit

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def part(self, share: float) -> TimeBox:
        """A box within this one, of a share of what is left."""
        return TimeBox(None if math.isinf(self.end) else max(0.0, self.left * share))

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Interrupt what runs longer, by a signal: a compiler knows no limit of its own.

        Raises:
            Late: at the end of the box, or at once if that has come.
        """
        if self.left <= 0:
            raise Late
        if math.isinf(self.end):
            yield
            return

        def stop(_signal: int, _frame: FrameType | None) -> None:
            raise Late

        before = signal.signal(signal.SIGALRM, stop)
        # Boxes lie within each other: the alarm of the outer one goes on afterwards.
        outer = signal.setitimer(signal.ITIMER_REAL, self.left)[0]
        began = time.monotonic()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if outer:
                signal.setitimer(signal.ITIMER_REAL, max(1e-3, outer - (time.monotonic() - began)))


@dataclass
class Row:
    """A step as it was measured.

    Attributes:
        seconds: of a step, the median over rounds.
        times: how many times faster than each reference, the median over rounds.
        ready: seconds until it could be run: building, capture, compilation.
        peak: MB of a GPU's memory that the step needs, with its weights and what its capture holds.
        busy: share of the time in which a GPU computes.
    """

    name: str
    seconds: float
    times: dict[str, float] = field(default_factory=dict)
    ready: float = math.nan
    peak: float = math.nan
    busy: float = math.nan


def compare(
    makers: Mapping[str, Callable[[], Step]],
    setting: Setting,
    box: TimeBox,
    show: Callable[[Row], None],
    references: Iterable[str] = (FP32, TF32),
) -> tuple[dict[str, Row], dict[str, str]]:
    """Measure each step beside the references, in turn, so that a busy machine slows both.

    Args:
        makers: what makes each step, in the order of importance; references come first.
        setting: of the comparison.
        box: what is not measured by its end is left out.
        show: called with each row as soon as it is measured.
        references: names among `makers` of the steps that others are compared with.

    Returns:
        Rows by name, and for those that are missing the reason.
    """
    rows: dict[str, Row] = {}
    missing: dict[str, str] = {}
    standing: dict[str, Step] = {}
    for name, make in makers.items():
        try:
            with box.holding():
                rows[name], step = _row(name, make, standing, setting)
        except Late:
            missing[name] = "no time left"
        except Exception as error:  # of a compiler or of the driver, of any kind: the others are still worth measuring
            missing[name] = (str(error).strip().splitlines() or [type(error).__name__])[0]
        else:
            if name in references:
                standing[name] = step
            del step  # before the next one is made: both might not fit
            show(rows[name])
    return rows, missing


def _row(name: str, make: Callable[[], Step], standing: Mapping[str, Step], setting: Setting) -> tuple[Row, Step]:
    if setting.on_gpu:
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    began = time.perf_counter()
    step = make()
    step()
    if not setting.on_gpu:
        return _measured(name, step, standing, setting), step
    torch.cuda.synchronize()
    ready = time.perf_counter() - began
    peak = (torch.cuda.max_memory_allocated() - before) / 1e6
    row = _measured(name, step, standing, setting)
    row.ready, row.peak, row.busy = ready, peak, busy_share(step, row.seconds)
    return row, step


def _measured(name: str, step: Step, standing: Mapping[str, Step], setting: Setting) -> Row:
    def once(work: Step) -> float:
        return seconds(work, setting.device, setting.repeats or 1, setting.clock)

    for _ in range(3 if setting.on_gpu else 0):
        step()
    steps = {**standing, name: step}
    repeats = {
        other: setting.repeats or max(1, math.ceil(_ROUND / max(once(work), 1e-6))) for other, work in steps.items()
    }
    times: dict[str, list[float]] = {other: [] for other in steps}
    for _ in range(setting.rounds):
        for other, work in steps.items():
            times[other].append(seconds(work, setting.device, repeats[other], setting.clock))
    ratios = {
        other: statistics.median(theirs / own for theirs, own in zip(times[other], times[name], strict=True))
        for other in standing
    }
    return Row(name, statistics.median(times[name]), ratios | {name: 1.0})


# -- how much of the time a GPU computes ----------------------------------------------------------------------------


def busy_share(step: Step, alone: float, steps: int = 10) -> float:
    """Share of the time in which at least one kernel or copy runs on the GPU.

    The profiler tells when each begins and ends, also those of a CUDA graph; their union, per step, is divided by the
    time of a step without the profiler, which slows launches.

    Args:
        step: is run `steps` times under the profiler.
        alone: seconds of a step without it.
        steps: how many.
    """
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    events: Any = profiler.events()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    return union(spans) * 1e-6 / steps / alone if spans else math.nan


def union(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what intervals cover together."""
    covered, end = 0.0, -math.inf
    for first, last in sorted(spans):
        covered += max(0.0, last - max(first, end))
        end = max(end, last)
    return covered


# -- data -----------------------------------------------------------------------------------------------------------


@dataclass
class Loading:
    """Samples per second of the loader alone, of the step on a batch that is there, and of the step that is fed; and
    the share of its time that the latter loses."""

    alone: float
    bare: float
    fed: float
    lost: float
    where: str


def loading(step: OurStep, setting: Setting, rounds: int = 3) -> Loading:
    """What the loop loses to its data.

    Args:
        step: of ours.
        setting: of the comparison.
        rounds: times of each, in turn, so that what else the machine does slows both.
    """
    unmeasured = 5 if setting.on_gpu else 1
    once = seconds(lambda: step.feed(step.batch), setting.device, 1)
    count = max(20, math.ceil(2 * _ROUND / once)) if setting.on_gpu else 4

    def rate(work: Callable[[LoadedBatch], Any]) -> float:
        stream = step.trainer.train.iterate(0, count + unmeasured)
        for _ in range(unmeasured):
            work(next(stream))
        return setting.batch * count / seconds(lambda: [work(loaded) for loaded in stream], setting.device, 1)

    alone = rate(lambda loaded: None)
    pairs = []
    for _ in range(rounds):
        bare = setting.batch / seconds(lambda: step.feed(step.batch), setting.device, count)
        pairs.append((bare, rate(step.feed)))
    lost = statistics.median(1 - together / bare for bare, together in pairs)
    bare, fed = (statistics.median(column) for column in zip(*pairs, strict=True))
    frames = step.trainer.train.frames
    where = "frames on the device"
    if isinstance(frames, Jpegs):
        where = f"{setting.workers} threads of {os.cpu_count()} cores, {frames.decoder}"
    return Loading(alone, bare, fed, lost, where)


# -- as text --------------------------------------------------------------------------------------------------------


def header(on_gpu: bool) -> str:
    columns = ["samples/s", "of the floor", "times fp32"]
    columns += ["times tf32", "peak MB", "busy %", "ready s"] * on_gpu
    return f"{'':42}" + "".join(f"{column:>14}" for column in columns)


def line(row: Row, least: Floor, setting: Setting) -> str:
    """A row of the table whose head is `header`.

    Args:
        row: as it was measured.
        least: the floor of a step.
        setting: of the comparison.
    """
    values = [setting.batch / row.seconds, least.seconds / row.seconds, row.times.get(FP32, math.nan)]
    if setting.on_gpu:
        values += [row.times.get(TF32, math.nan), row.peak, 100 * row.busy, row.ready]
    return f"{row.name:42}" + "".join(f"{value:14.2f}" for value in values)


def fastest(rows: Mapping[str, Row]) -> Row:
    """Of ours, by ratio where there is one, not by time: rounds in which the machine was busy slowed both."""
    own = [row for name, row in rows.items() if name.startswith(OURS)]
    return max(own, key=lambda row: (row.times.get(FP32, 0.0), -row.seconds))


def compile_cache() -> str:
    """Where torch.compile keeps what it has compiled (TORCHINDUCTOR_CACHE_DIR), and whether something is there."""
    importlib.import_module("torch._inductor.compile_fx")  # before an alarm can interrupt it, as above
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folder = Path(cache_dir())
    files = sum(path.is_file() for path in folder.rglob("*"))
    return f"{folder}, {files} files" if files else f"{folder}, empty"


def describe(device: torch.device, ceiling: Ceilings) -> str:
    """The machine in a line."""
    gpu = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if gpu else f"{torch.get_num_threads()} threads, no GPU"
    tflop, gb = ceiling.operations_s / 1e12, ceiling.bytes_s / 1e9
    return f"torch {torch.__version__}, {where}; ceilings {tflop:.3g} Tflop/s bf16, {gb:.3g} GB/s"
