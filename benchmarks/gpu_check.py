"""All that is asked of a GPU, measured in one run of a few minutes, as one Markdown record.

    python benchmarks/gpu_check.py [--seconds 225] [--out gpu-check.md] [--device cuda]

It needs torch, numpy, pyarrow, PyYAML, and Pillow or simplejpeg; nothing has to be installed of fabnet, and nothing is
fetched. Sections run in the order of importance, each in its share of the time; what fails or does not fit is a line of
the record, which is written anew after every section. On a CPU (`--device cpu`) it is a dry run: with tiny networks,
every section runs through, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare image has no fabnet installed

from benchmarks._drawn import Drawn, draw, scores
from benchmarks._floor import Ceilings, ceilings, floor, seconds
from benchmarks._our_step import FP32, OURS, TF32, OurStep, Setting, our_trainer, ways
from benchmarks._rows import Late, TimeBox, busy_share, compare, describe, fastest, loading
from benchmarks._trainer import noise, trainer_of
from fabnet.files import atomic_file, write_json
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images
from fabnet.networks.fabnet import FabNet
from fabnet.training.world import arithmetic

ROOT = Path(__file__).parents[1]
#: Scores of the default variants trained on a CPU, as `scores` reads them.
REFERENCE = ROOT / "docs" / "results" / "gpu-check-cpu.json"
STEPS = 100
#: What a curriculum has that does not say otherwise: the defaults of fabnet.config, which a bare image cannot import.
WINDOW = {"width": 50, "shift": 10, "shifts": 4, "patience": 5, "longest": None}


@dataclass
class Check:
    """What sections share.

    Attributes:
        device: that is checked.
        params: params.yaml.
        ceiling: of the device.
        goals: what was asked for: its name, what was measured, how it reads, and whether it is met.
    """

    device: torch.device
    params: dict[str, Any]
    ceiling: Ceilings
    goals: list[tuple[str, str, str, bool]] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def goal(self, name: str, value: float, least: float | None = None, most: float | None = None) -> None:
        """Take down a figure that was asked for; nan does not meet it.

        Args:
            name: with its unit.
            value: measured.
            least, most: one of them, what is asked for.
        """
        met = value >= least if least is not None else most is not None and value < most
        asked = f">= {least:g}" if least is not None else f"< {most:g}"
        self.goals.append((name, f"{value:.3g}", asked, met))

    def setting(self, size: int, filters: int, batch: int) -> Setting:
        if not self.on_gpu:
            size, filters, batch = 16, 4, 4
        repeats = None if self.on_gpu else 1
        workers = max(1, (os.cpu_count() or 1) - 2)
        return Setting(
            self.device, size, filters, 8 * filters, batch, 3 if self.on_gpu else 1, repeats, "wall", workers
        )

    def variant(self, name: str, **changes: Any) -> dict[str, Any]:
        """The values of a default variant, with changes; of a dry run in a tiny network."""
        train = self.params["train"]
        values = {**train["common"], **{**train["variants"], **train["finetuned"]}[name], **changes}
        if values["curriculum"] is not None:
            values["curriculum"] = WINDOW | values["curriculum"]
        if not self.on_gpu:
            values |= {"base_filters": 4, "embedding_dim": 8, "batch_size": 4, "samples": 16}
            values["flow_stride"] = min(values["flow_stride"], 2)  # frames are of 16 px, and a flow has 8 at least
            values |= {"validation_every": 8, "validation_samples": 4, "checkpoint_every": 8}
        return values


# -- sections: generators of lines ----------------------------------------------------------------------------------


def small_steps(check: Check, box: TimeBox) -> Iterator[str]:
    """Samples per second of one job at the default params, 64 px."""
    size = 64 if check.on_gpu else 16
    yield "| variant | batch | precision | step | samples/s | step, ms | GPU computes, % |"
    yield "|---|---|---|---|---|---|---|"
    fastest_rate, share = 0.0, float("nan")
    cases = [
        ("fabnet", {}),
        ("fabnet", {"batch_size": 128, "precision": "bf16"}),
        ("fabnet_3src", {}),
        ("autoencoder", {}),
    ]
    for name, changes in cases:
        for graph in (False, True)[: 1 + check.on_gpu]:
            values = check.variant(name, **changes, cuda_graph=graph)
            run = trainer_of(values, noise(256, 12, size), check.device)
            step = OurStep(run, next(run.train.iterate(0, 1)))
            took = min(seconds(step, check.device, 50 if check.on_gpu else 1) for _ in range(3))
            busy = busy_share(step, took) if check.on_gpu else float("nan")
            rate = values["batch_size"] / took
            what = f"{name} | {values['batch_size']} | {values['precision']} | {'graph' if graph else 'eager'}"
            yield f"| {what} | {rate:,.0f} | {1e3 * took:.2f} | {100 * busy:.0f} |"
            if name == "fabnet" and not changes and rate > fastest_rate:
                fastest_rate, share = rate, busy
    check.goal("samples/s, `fabnet` at default params, 64 px, one job", fastest_rate, least=15000)
    check.goal("share of the time that the GPU computes, the same, %", 100 * share, least=90)


def large_steps(check: Check, box: TimeBox) -> Iterator[str]:
    """Our step against the authors' loop: 256 px first, with three sources and one, then 128 and 64 px."""
    left = [(256, 32, 3), (256, 32, 1), (128, 32, 1), (64, 16, 1)][: 4 if check.on_gpu else 1]
    for place, (size, filters, sources) in enumerate(left):
        setting = check.setting(size, filters, 128)
        batch = setting.drawn(sources)
        model = FabNet(setting.size, setting.filters, setting.dimension, sources).to(check.device)
        least = floor(model, sources, setting.batch, setting.size, check.ceiling)
        makers = ways(setting, sources, batch, check.ceiling)
        if check.on_gpu:  # compilation takes longer than all else: benchmarks/train_step.py has it
            makers = {name: make for name, make in makers.items() if "compiled" not in name}
        rows, missing = compare(makers, setting, box.part(1 / (len(left) - place)), lambda row: None)
        yield f"\n{setting.size} px, {setting.filters} filters, {sources} source(s), batch {setting.batch}\n"
        yield "| step | samples/s | ms | times fp32 | times tf32 | of the floor, % | MB | GPU computes, % |"
        yield "|---|---|---|---|---|---|---|---|"
        for name, row in rows.items():
            times = [row.times.get(reference, float("nan")) for reference in (FP32, TF32)]
            yield (
                f"| {name} | {setting.batch / row.seconds:,.0f} | {1e3 * row.seconds:.2f} | {times[0]:.2f} | "
                f"{times[1]:.2f} | {100 * least.seconds / row.seconds:.0f} | {row.peak:,.0f} | {100 * row.busy:.0f} |"
            )
        for name, reason in missing.items():
            yield f"\nnot measured: {name}: {reason}"
        if place == 0 and any(name.startswith(OURS) for name in rows):
            best = fastest(rows)
            where = "256 px, 32 filters, batch 128, 3 sources"
            check.goal(f"times the authors' loop with TF32, {where}", best.times.get(TF32, float("nan")), least=3)
            check.goal(f"of the floor, %, {where}", 100 * least.seconds / best.seconds, least=30)


def data(check: Check, box: TimeBox) -> Iterator[str]:
    """What the loop loses to reading and decoding, at 256 px."""
    setting = check.setting(256, 32, 128)
    for resident in (True, False):
        run = our_trainer(setting, 1, resident, cuda_graph=check.on_gpu)
        found = loading(OurStep(run, next(run.train.iterate(0, 1))), setting, rounds=3 if check.on_gpu else 1)
        yield (
            f"- {found.where}: the loader alone {found.alone:,.0f} samples/s, the step on a batch that is there "
            f"{found.bare:,.0f}, fed {found.fed:,.0f}, which loses {100 * found.lost:.1f} %"
        )
        if resident:
            check.goal("time lost to data at 256 px, frames on the device, %", 100 * found.lost, most=3)


#: Options of a run that is taken twice, and what is changed of the variant.
KINDS: dict[str, dict[str, Any]] = {
    "bf16, factored": {"precision": "bf16", "decoder": "factored"},
    "bf16, direct": {"precision": "bf16", "decoder": "direct"},
    "fp32, factored": {"precision": "fp32", "decoder": "factored"},
    "bf16, factored, deterministic": {"precision": "bf16", "decoder": "factored", "deterministic": True},
    "bf16, direct, deterministic": {"precision": "bf16", "decoder": "direct", "deterministic": True},
    "fp32, factored, deterministic": {"precision": "fp32", "decoder": "factored", "deterministic": True},
}
_PLAIN = {"optimiser": "adam", "learning_rate": 0.002, "batch_size": 32, "views": None, "flow_stride": 1}
#: Variants that are compared with themselves, by what differs from `fabnet` of the default.
SUBJECTS: dict[str, dict[str, Any]] = {
    "default `fabnet`": {},
    "fabnet": _PLAIN,
    "3 sources, curriculum": {**_PLAIN, "sources": 3, "curriculum": WINDOW},
    "autoencoder": {**_PLAIN, "objective": "autoencoder"},
    "rotation": {**_PLAIN, "objective": "rotation"},
    "split_brain": {**_PLAIN, "objective": "split_brain"},
}


def bits(check: Check, box: TimeBox) -> Iterator[str]:
    """Two runs of the same params compared bit by bit, per variant and option, and the price of `deterministic`."""
    size, steps = (64, STEPS) if check.on_gpu else (16, 3)
    frames = noise(256, 12, size)
    yield f"{size} px, {steps} steps: the first step whose loss differs, or `=` for equal weights; then ms a step\n"
    yield "| | " + " | ".join(KINDS) + " |"
    yield "|---" * (1 + len(KINDS)) + "|"
    promised = kept = 0
    for subject, changes in SUBJECTS.items():
        cells = []
        for kind, options in KINDS.items():
            if box.left <= 0:
                cells.append("no time left")
                continue
            values = check.variant("fabnet", **changes, **options)
            try:
                runs = [_run(check, values, frames, steps) for _ in range(2)]
            except RuntimeError as error:  # an operator without a deterministic kernel, for one
                cells.append((str(error).strip().splitlines() or ["failed"])[0].replace("|", "/"))
                promised += "deterministic" in kind
                continue
            (one, took, state), (other, _, again) = runs
            differing = [step for step, (a, b) in enumerate(zip(one, other, strict=True), 1) if a != b]
            same = not differing and all(torch.equal(state[name], again[name]) for name in state)
            cells.append(f"{'=' if same else differing[0] if differing else 'weights'}; {1e3 * took:.2f}")
            promised += "deterministic" in kind
            kept += same and "deterministic" in kind
        yield f"| {subject} | " + " | ".join(cells) + " |"
    # Where time was left for none, nothing is shown.
    check.goal(f"of {promised} cases with `deterministic`, bit-equal", kept if promised else np.nan, least=promised)


def _run(
    check: Check, values: dict[str, Any], frames: NDArray[np.uint8], steps: int
) -> tuple[list[float], float, dict[str, torch.Tensor]]:
    """Losses of each step, seconds of one, and the weights at the end."""
    with arithmetic(bool(values["deterministic"]), check.device):
        run = trainer_of(values, frames, check.device)
        losses, began = [], time.perf_counter()
        for batch in run.train.iterate(0, steps):
            losses.append(run._train_step(batch).clone())  # a graph overwrites it
            run.step += 1
        told = torch.stack(losses).tolist()  # waits for the device
        return told, (time.perf_counter() - began) / steps, run.model.state_dict()


def variants(check: Check, box: TimeBox) -> Iterator[str]:
    """The default variants trained on the bundled crops, and their scores beside those of a CPU."""
    synthesize = check.params["synthesize"]
    if not check.on_gpu:
        synthesize = {**synthesize, "image_size": 32, "videos": {"identities": 12, "seconds": 2, "fps": 1}}
        synthesize |= {"faces": {"train": 4, "validation": 2, "test": 2, "per_identity": 1}}
    began = time.perf_counter()
    drawn = draw(synthesize, 64 if check.on_gpu else 16, 0 if check.on_gpu else 1)
    yield f"{drawn.frames.shape[0]} people and {len(drawn.faces)} labelled faces drawn in {_since(began)}"
    cpu = json.loads(REFERENCE.read_text())
    names = ["yaw_mae_deg", "pose_mae_deg", "landmarks68_nme_pct", "units_auc"]
    # Two trainings differ by the root of two of the spread over seeds; 95 % of such differences are within this.
    spread = yaml.safe_load((ROOT / "verify.yaml").read_text())["spread"]
    reach = {name: 1.96 * 2**0.5 * spread[name] for name in names}
    yield "\nBeside each score that of a CPU's training, ± what 95 % of differences between two seeds are within."
    yield "\n| variant | trained in, s | " + " | ".join(f"{name} | CPU" for name in names) + " |"
    yield "|---" * (2 + 2 * len(names)) + "|"
    total, compared, outside = 0.0, 0, []
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for name in _in_order(check.params["train"]):
        values = check.variant(name)
        began = time.perf_counter()
        run = trainer_of(values, drawn.frames, check.device)
        if values["start_from"] is not None:  # whose decoder of confidences may be missing, and is then a new one
            run.model.load_state_dict({**run.model.state_dict(), **weights[values["start_from"]]})
        result = run.run()
        if check.on_gpu:
            torch.cuda.synchronize()
        took = time.perf_counter() - began
        total += took
        run.model.load_state_dict(result.best)
        weights[name] = result.best
        encoder: Any = run.model.encoder
        own = scores(embedded(encoder, drawn, check.device), drawn)
        cells = []
        for metric in names:
            if name not in cpu:
                cells.append(f"{own[metric]:.2f} | not known")
                continue
            compared += 1
            cells.append(f"{own[metric]:.2f} | {cpu[name][metric]:.2f} ± {reach[metric]:.2f}")
            if not abs(own[metric] - cpu[name][metric]) <= reach[metric]:
                outside.append(f"{name} {metric}")
        yield f"| {name} | {took:.1f} | " + " | ".join(cells) + " |"
    check.goal("default variants trained, s in all", total, most=60)
    expected = f"{0.05 * compared:.1f} expected"
    count = len(outside) if compared else np.nan
    check.goal(f"of {compared} scores, outside what two seeds differ by ({expected})", count, most=3)
    if outside and check.on_gpu:
        yield f"\noutside: {', '.join(outside)}"


def _in_order(train: dict[str, Any]) -> list[str]:
    """The variants, each after the one that it starts from."""
    names, waiting = list(train["variants"]), dict(train["finetuned"])
    while waiting:
        ready = next(name for name, values in waiting.items() if values["start_from"] in names)
        names.append(ready)
        del waiting[ready]
    return names


def embedded(encoder: torch.nn.Module, drawn: Drawn, device: torch.device) -> NDArray[np.float32]:
    """Embeddings of the labelled faces, (N, D).

    Args:
        encoder: of a trained network.
        drawn: whose faces.
        device: that computes.
    """
    parts = np.array_split(drawn.faces, max(1, len(drawn.faces) // 256))
    return np.concatenate(list(embed_images(encoder, parts, device)))


def reference(models: Path, params: dict[str, Any], workers: int) -> dict[str, dict[str, float]]:
    """What REFERENCE holds: scores of those default variants that are there as the pipeline has trained them.

    Args:
        models: folder of models, trained on a CPU.
        params: params.yaml.
        workers: processes that draw the faces.
    """
    synthesize = params["synthesize"]
    faces_alone = {**synthesize, "videos": {**synthesize["videos"], "identities": 1}}
    drawn = draw(faces_alone, params["extract"]["image_size"], workers)
    found: dict[str, dict[str, float]] = {}
    for name in _in_order(params["train"]):
        if not (models / name).is_dir():
            continue
        encoder: Any = load_model(models / name)[0].encoder
        found[name] = scores(embedded(encoder, drawn, torch.device("cpu")), drawn)
    return found


def marked(check: Check, box: TimeBox) -> Iterator[str]:
    """The tests that need a GPU, where pytest and what they import are installed."""
    if not check.on_gpu or any(find_spec(name) is None for name in ("pytest", "pydantic", "pandas", "simplejpeg")):
        yield "not run: they need a GPU, pytest and the packages of fabnet"
        return
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--no-header", "-rf", "tests/code"]
    command += ["-n0"] * (find_spec("xdist") is not None)  # one process: the card is for one test at a time
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(1, box.left), check=False)
    yield "```\n" + "\n".join(done.stdout.strip().splitlines()[-12:]) + "\n```"
    check.goal("exit code of the tests marked gpu", done.returncode, most=1)


#: Title, what it does, and its share of the time that is left when its turn comes.
SECTIONS: list[tuple[str, Callable[[Check, TimeBox], Iterator[str]], float]] = [
    ("Steps at default params, 64 px", small_steps, 0.15),
    ("Steps against the authors' loop", large_steps, 0.4),
    ("Time lost to data", data, 0.2),
    ("The same bits", bits, 0.5),
    ("Default variants", variants, 0.8),
    ("Tests marked gpu", marked, 1.0),
]


def record(check: Check, box: TimeBox, out: Path) -> str:
    """Run all sections; the record, which is written to `out` after each.

    Args:
        check: what they share.
        box: of all of them.
        out: Markdown file.
    """
    head = [
        f"# What a GPU does, {time.strftime('%d %B %Y')}",
        "",
        f"{describe(check.device, check.ceiling)}; {_commit()}",
    ]
    if not check.on_gpu:
        head += ["", "**A dry run on a CPU, with tiny networks: its figures mean nothing.**"]
    body: list[str] = []
    for title, section, share in SECTIONS:
        say = [f"\n## {title}\n"]
        print(say[0], flush=True)
        part, began = box.part(share), time.perf_counter()
        try:
            with part.holding():
                for line in section(check, part):
                    print(line, flush=True)
                    say.append(line)
        except Late:
            say.append("\n**cut off: no time left**")
        except Exception as error:  # a driver's, a compiler's, of any kind: the other sections are still worth running
            say.append(f"\n**failed: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}**")
        if say[-1].startswith("\n**"):
            print(say[-1], flush=True)
        body += [*say, f"\n({_since(began)})"]
        text = "\n".join([*head, *_table(check.goals), *body]) + "\n"
        with atomic_file(out) as temporary:
            temporary.write_text(text)
    return text


def _table(goals: list[tuple[str, str, str, bool]]) -> list[str]:
    lines = ["\n| figure | measured | asked for | met |", "|---|---|---|---|"]
    return lines + [f"| {name} | {value} | {asked} | {'yes' if met else 'no'} |" for name, value, asked, met in goals]


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.1f} s"


def _commit() -> str:
    """The commit, where this is a clone and git is there."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"
    return f"commit {done.stdout.strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cpu: a dry run; by default the GPU if there is one")
    parser.add_argument("--seconds", type=float, default=225.0, help="for all sections, without the imports")
    parser.add_argument("--out", type=Path, default=Path("gpu-check.md"), help="the record")
    parser.add_argument("--reference", type=Path, help="folder of models trained on a CPU: write their scores, no more")
    options = parser.parse_args()
    if options.reference:
        found = reference(options.reference, yaml.safe_load((ROOT / "params.yaml").read_text()), 0)
        write_json(REFERENCE, found)
        return
    # Read when CUDA starts; without it cuBLAS may choose another kernel from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        device = torch.device("cuda", 0)
    if device.type == "cpu":
        torch.set_num_threads(1)  # tiny networks would wait for each other's threads
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    box = TimeBox(options.seconds)
    ceiling = ceilings(device, "wall", None if device.type == "cuda" else 64)
    check = Check(device, yaml.safe_load((ROOT / "params.yaml").read_text()), ceiling)
    record(check, box, options.out)
    print("\n".join(_table(check.goals)))
    print(f"\n{options.out}: the record")


if __name__ == "__main__":
    main()
