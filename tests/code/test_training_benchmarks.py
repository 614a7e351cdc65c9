"""The benchmarks of a training step: what they compute and compare is right, and they run on a bare image."""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
import yaml
from simulated_graph import simulate
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from small_runs import SIZE, params, trainer
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _drawn, _rows, gpu_check
from benchmarks import layers as layers_script
from benchmarks._authors_loop import AuthorsLoop
from benchmarks._floor import Ceilings, floor, layers
from benchmarks._our_step import (
    FP32,
    OURS,
    Setting,
    compile_regions,
    factor_where_it_pays,
    our_trainer,
    planar,
    upsample_by_products,
    ways,
)
from benchmarks._rows import Late, TimeBox, compare, line, union
from benchmarks._step_memory import kept_by_part
from fabnet import tables
from fabnet.attributes.tasks import UNIT_PRESENT
from fabnet.config import CurriculumParams, load_params
from fabnet.networks.fabnet import FabNet
from fabnet.probing.metrics import landmark_errors, roc_auc
from fabnet.synthetic import faces as synthetic_faces

ROOT = Path(__file__).parents[2]
SMALL = Setting(torch.device("cpu"), 16, 4, 16, 4, rounds=1, repeats=1, clock="wall", workers=0)


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
    # Upsampled maps of 2, 4 and 8 px: inputs a quarter, work 1/4 + 5/9 side / channels of the convolution's, if less:
    # the matrices of upsampling get no gradient.
    decoder = [(16 * 8 * 9, 8, 16, 1, 8), (32 * 4 * 9, 16, 32, 2, 4), (128 * 2 * 9, 32, 128, 4, 2)]
    operations = sum(2 * 2 * (2 if first else 3) * work for work, _, _, first in encoder)
    operations += sum(6 * work * min(1, 1 / 4 + 5 / 9 * side / into) for work, _, _, side, into in decoder)
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


@pytest.mark.parametrize("decoder", ["direct", "factored"])
@pytest.mark.parametrize("sources", [1, 3])
def test_operations_of_layers_are_those_that_torch_counts(decoder, sources):
    run = our_trainer(SMALL, sources, decoder=decoder, precision="fp32")
    with FlopCounterMode(display=False) as counter:
        run._train_step(SMALL.drawn(sources))
    expected = 0.0
    for layer in layers(run.model, sources, SMALL.size):
        part, _, place = layer.name.rpartition(".layers.")
        by_products = decoder == "factored" and hasattr(run.model.get_submodule(part), f"axis_{int(place) - 1}")
        expected += (layer.factored() if by_products else layer.direct()).operations
    assert counter.get_total_flops() == SMALL.batch * expected


def test_bytes_of_a_layer_by_hand():
    """The decoder's last layer at 16 px, 4 channels of 8 px to 2: values counted on paper, two bytes each."""
    last = layers(FabNet(16, 4, 8, 1), 1, 16)[-1]
    assert (last.name, last.side, last.channels_in, last.channels_out) == ("flow_decoder.layers.14", 8, 4, 2)
    small, large, out = 4 * 64, 4 * 256, 2 * 256
    forward = (small + large) + (large + out)
    backward = (out + large) + (out + large) + (large + small)
    assert last.direct().moved == 2 * (forward + backward)
    mixed, wide = 9 * 2 * 64, 6 * 2 * 64
    products = (small + mixed) + (mixed + wide) + (wide + out)
    gradients = (out + wide) + (wide + mixed) + (mixed + small) + (mixed + small) - mixed
    copies = 2 * 2 * (mixed + out)
    assert last.factored().moved == 2 * (products + gradients + copies)
    assert last.least().moved == 2 * ((small + out) + (small + out + small))


def test_the_table_of_layers_adds_up(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["layers.py", "--size", "16", "--filters", "4", "--tflops", "1", "--tbs", "0.001"])
    layers_script.main()
    lines = [text for text in capsys.readouterr().out.splitlines() if text.startswith("| ")][1:]
    table = np.array([[float(cell) for cell in text.strip("| ").split("|")[3:]] for text in lines])
    np.testing.assert_allclose(table[:-1].sum(axis=0), table[-1], atol=0.06 * len(table))
    assert len(table) == 1 + 4 + 4


# -- other ways to run the same step --------------------------------------------------------------------------------


def regions(run, sources):
    compile_regions(run, "eager")  # traced, not compiled: that takes a compiler and a minute


def by_products(run, sources):
    upsample_by_products(run.model)


def planes(run, sources):
    planar(run)


def mixed(run, sources):
    factor_where_it_pays(run.model, sources, SMALL.size, Ceilings(1e10, 1e9))
    places = [name for name, _ in run.model.named_buffers() if "axis_" in name]
    assert 0 < len(places) < sum(layer.upsampled for layer in layers(run.model, sources, SMALL.size))
    by_products(run, sources)


@pytest.mark.parametrize(
    ("way", "sources"), [(regions, 3), *((way, sources) for way in (by_products, mixed, planes) for sources in (1, 3))]
)
def test_every_way_is_the_same_function(way, sources):
    """Losses and gradients beside the plain step's, in float32; where little enlarges roundings: on smooth frames, and
    without statistics of a batch of four."""
    found = []
    coarse = torch.rand(1 + sources, SMALL.batch * 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    frames = functional.interpolate(coarse, size=SMALL.size, mode="bicubic").unflatten(1, (-1, 3))
    batch = SMALL.drawn(sources)._replace(pictures=((frames + 1) * 127.5).clamp(0, 255).byte().movedim(-3, -1))
    for change in (lambda *_: None, way):
        torch.manual_seed(0)
        run = our_trainer(SMALL, sources, precision="fp32", decoder="factored" if way is mixed else "direct")
        change(run, sources)
        run.model.eval()
        losses = run.training.losses(run.training.network, run.train.finish(batch)).minimised
        losses.mean().backward()
        found.append([losses.detach(), *(parameter.grad for parameter in run.model.parameters())])
    for plain, changed in zip(*found, strict=True):
        assert (changed - plain).norm() <= 1e-3 * plain.norm() + 1e-6


@dataclass(frozen=True)
class AsOnGpu(Setting):
    """The rows of a GPU, on a CPU."""

    on_gpu = True


def test_the_rows_of_a_gpu_take_the_same_first_step(monkeypatch):
    """With graphs simulated, and nothing compiled: where a step moves the weights, beside the plain one."""
    simulate(monkeypatch)
    setting, ceiling = AsOnGpu(**vars(SMALL)), Ceilings(1e10, 1e9)
    made = {name: make for name, make in ways(setting, 1, setting.drawn(1), ceiling).items() if "compiled" not in name}
    assert len(made) == 9
    torch.manual_seed(0)
    start = torch.cat([weight.detach().flatten() for weight in our_trainer(setting, 1).model.parameters()])
    moved = {}
    for name, make in made.items():
        torch.manual_seed(0)
        step = make()
        if name.startswith(OURS):
            assert step.trainer.training.captured == ("graph" in name)
            moved[name] = torch.cat([weight.flatten() for weight in step.trainer.model.parameters()]) - start
    for name, own in moved.items():
        # In bf16, of four frames of noise; in float32 the test above compares gradients closely.
        assert functional.cosine_similarity(own, moved[OURS], dim=0) > 0.9, name


# -- a time box -----------------------------------------------------------------------------------------------------


def test_what_does_not_fit_the_box_is_named_and_the_rest_is_shown_at_once(monkeypatch):
    shown = []

    def endless():
        while True:
            time.sleep(0.005)

    def broken():
        raise RuntimeError("no compiler\nmore of it")

    makers = {
        FP32: lambda: lambda: 0.004,
        OURS: lambda: lambda: 0.001,
        "ours, broken": broken,
        "ours, endless": endless,
        "ours, after it": lambda: lambda: None,
    }
    monkeypatch.setattr(_rows, "seconds", lambda work, *_: work())
    began = time.monotonic()
    rows, missing = compare(makers, SMALL, TimeBox(0.3), lambda row: shown.append((row.name, time.monotonic())))
    assert 0.3 < time.monotonic() - began < 3
    assert [name for name, _ in shown] == list(rows) == [FP32, OURS]
    assert shown[1][1] - began < 0.3
    assert missing == {
        "ours, broken": "no compiler",
        "ours, endless": "no time left",
        "ours, after it": "no time left",
    }
    assert (rows[OURS].times[FP32], rows[OURS].seconds) == (4, 0.001)
    least = floor(FabNet(16, 4, 16, 1), 1, 4, 16, Ceilings(1e12, 1e9))
    assert line(rows[OURS], least, SMALL).startswith(f"{OURS} ")


def test_boxes_within_boxes():
    outer = TimeBox(0.2)
    told = []

    def work():
        with outer.holding():
            try:
                with outer.part(0.2).holding():
                    time.sleep(5)
            except Late:
                told.append(outer.left)
            time.sleep(5)

    with pytest.raises(Late):
        work()
    assert -0.2 < outer.left <= 0 < told[0] < 0.2
    assert TimeBox(None).part(0.5).left == np.inf


def test_time_that_kernels_cover_together():
    assert union([(5, 7), (0, 2), (1, 3), (6, 6.5)]) == 5
    assert union([]) == 0


# -- on a bare image ------------------------------------------------------------------------------------------------


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
for arguments in (sys.argv[1].split(), sys.argv[2].split()):
    sys.argv = arguments
    runpy.run_path(f"benchmarks/{arguments[0]}", run_name="__main__")
"""


@pytest.fixture(scope="module")
def said_on_a_bare_image(tmp_path_factory):
    """What both scripts print with torch, numpy, pyarrow, PyYAML and Pillow alone, at a tiny size, and the record."""
    out = tmp_path_factory.mktemp("bare") / "gpu-check.md"
    step = "train_step.py --size=16 --filters=2 --batch=2 --rounds=1 --side=64 --workers=2 --threads=1 --seconds=60"
    command = [sys.executable, "-c", BARE, step, f"gpu_check.py --device cpu --seconds 300 --out {out}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.partition("\n## ")[0], out.read_text()


def test_the_benchmark_runs_on_a_bare_image(said_on_a_bare_image):
    said, _ = said_on_a_bare_image
    assert re.search(r"ceilings \S+ Tflop/s bf16, \S+ GB/s", said)
    assert said.count("loader alone") == 4
    assert said.count(", Pillow)") == 2
    # Beside these, a GPU has the port with TF32, memory, time that it computes, and time of getting ready.
    columns = 7 if torch.cuda.is_available() else 3
    for sources in (1, 3):
        assert f"\n{sources} source(s), batch 2: " in said
        for figure in (
            "times the authors' loop, fp32",
            "decoding ahead, times the fastest step",
            "lost to data, frames on the device, %",
        ):
            (value,) = re.findall(rf"^{sources} +{re.escape(figure)} +(-?[\d.]+)   ", said, re.M)
            assert np.isfinite(float(value))
    for row in ("authors' loop, fp32", "ours", "ours, direct"):
        assert len(re.findall(rf"^{row}  +(?:(?:[\d.]+|nan) *){{{columns}}}$", said, re.M)) == 2


def test_the_check_of_a_gpu_runs_through_on_a_bare_image(said_on_a_bare_image):
    _, record = said_on_a_bare_image
    assert re.findall("^## (.*)$", record, re.M) == [title for title, *_ in gpu_check.SECTIONS]
    assert "failed" not in record
    assert "cut off" not in record
    assert "A dry run" in record
    goals = re.findall(r"^\| ([^|]*) \| (\S+) \| (?:>=|<) \S+ \| (yes|no) \|$", record, re.M)
    assert len(goals) == 8
    assert ("of 18 cases with `deterministic`, bit-equal", "18", "yes") in goals
    cells = r"(?: \| [\d.]+ \| (?:[\d.]+ ± [\d.]+|not known)){3}"
    assert sorted(re.findall(rf"^\| (\w+) \| [\d.]+{cells}", record, re.M)) == sorted(load_params().train.names)


def test_a_section_that_fails_is_a_line_of_the_record(tmp_path, monkeypatch):
    def broken(check, box):
        yield "begun"
        raise RuntimeError("no kernel image\nfor this device")

    def endless(check, box):
        yield "begun, too"
        time.sleep(5)

    def sound(check, box):
        check.goal("speed", float("nan"), least=1)
        yield "done"

    sections = [("One", broken, 1.0), ("Two", endless, 0.1), ("Three", sound, 1.0)]
    monkeypatch.setattr(gpu_check, "SECTIONS", sections)
    check = gpu_check.Check(torch.device("cpu"), {}, Ceilings(1e9, 1e9))
    text = gpu_check.record(check, TimeBox(1), tmp_path / "record.md")
    assert text == (tmp_path / "record.md").read_text()
    assert "begun\n\n**failed: RuntimeError: no kernel image**" in text
    assert "begun, too\n\n**cut off: no time left**" in text
    assert "\ndone\n" in text
    assert "| speed | nan | >= 1 | no |" in text


# -- the data and the scores of the check ---------------------------------------------------------------------------


def test_drawn_faces_are_those_of_the_pipeline():
    pictures, labels = _drawn._draw(_drawn._Person(True, 3, 2, 0.0, 5, 32))
    theirs = synthetic_faces._draw(synthetic_faces._Person(5, 3, "train", 2, 32))
    for place, face in enumerate(theirs):
        angles = [face.labels[name] for name in ("roll_deg", "pitch_deg", "yaw_deg")]
        assert labels["pose"][place].tolist() == angles
        np.testing.assert_array_equal(labels["points"][place].ravel() * 32, face.labels["landmarks68"])
        np.testing.assert_array_equal(labels["units"][place], [face.labels[name] for name in tables.UNIT_COLUMNS])
        decoded = simplejpeg.decode_jpeg(face.jpeg).astype(int)
        assert np.abs(decoded - pictures[place]).mean() < 3


def test_scores_of_the_check_are_those_of_the_probes():
    """Ridge beside scikit-learn's, and the metrics beside those of fabnet.probing."""
    rng = np.random.default_rng(0)
    split = np.array(["train"] * 300 + ["validation"] * 60 + ["test"] * 90)
    inputs = rng.normal(size=(450, 12))
    pose = inputs @ rng.normal(size=(12, 3)) + rng.normal(size=(450, 3))
    points = rng.normal(size=(450, 68, 2))
    units = rng.random((450, 11)) * (rng.random((450, 11)) < 0.5)
    drawn = _drawn.Drawn(np.empty(0), np.empty(0), {"pose": pose, "points": points, "units": units}, split)
    train, test = split == "train", split == "test"
    scaled = StandardScaler().fit(inputs[train]).transform(inputs)

    def by_sklearn(target):
        found = [Ridge(alpha=alpha).fit(scaled[train], target[train]) for alpha in (1, 10, 100, 1000)]
        held = split == "validation"
        best = min(found, key=lambda one: np.square(one.predict(scaled[held]) - target[held]).mean())
        return best.predict(scaled[test])

    present = (units > UNIT_PRESENT).astype(float)
    angles = np.abs(by_sklearn(pose) - pose[test])
    told = by_sklearn(points.reshape(450, -1))
    expected = {
        "yaw_mae_deg": angles[:, 2].mean(),
        "pose_mae_deg": angles.mean(),
        "landmarks68_nme_pct": landmark_errors(told, points[test].reshape(90, -1)).mean(),
        "units_auc": roc_auc(by_sklearn(present), present[test]).mean(),
    }
    assert _drawn.scores(inputs, drawn) == pytest.approx(expected, rel=1e-6)


def test_what_a_bare_image_cannot_import_is_as_told():
    assert CurriculumParams().model_dump() == gpu_check.WINDOW


def test_the_scores_of_a_cpu_are_those_of_the_report_by_another_probe():
    reference = json.loads(gpu_check.REFERENCE.read_text())
    assert set(load_params().train.variants) <= set(reference) <= set(load_params().train.names)
    measured = json.loads((ROOT / "metrics.json").read_text())["synthetic"]
    spread = yaml.safe_load((ROOT / "verify.yaml").read_text())["spread"]
    for name, metrics in reference.items():
        for metric, value in metrics.items():
            # The probes, and their choices of penalties, differ; variants differ by far more.
            assert value == pytest.approx(measured[name][metric]["value"], abs=2.5 * spread[metric])


def test_what_no_time_was_left_for_meets_no_goal():
    check = gpu_check.Check(torch.device("cpu"), {}, Ceilings(1e9, 1e9))
    lines = list(gpu_check.bits(check, TimeBox(0)))
    assert all(line.count("no time left") == len(gpu_check.KINDS) for line in lines[3:])
    assert [(value, met) for _, value, _, met in check.goals] == [("nan", False)]
