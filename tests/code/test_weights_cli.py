"""`fabnet weights` as a command: every command and snippet of docs/weights.md, exit codes, and errors in a line."""

import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from commands import run_fabnet
from inference_files import SIZE, write_model
from released_files import old_state_dict, reference_network, reference_probe, save_as_in_2018

from fabnet.inference import embed as embed_module
from fabnet.networks.build import load_model
from fabnet.processes import run_jobs

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/weights.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]
DIMENSION = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files that the docs name."""
    folder = tmp_path_factory.mktemp("project")
    network = reference_network(size=SIZE, filters=4, dimension=DIMENSION)
    probe = reference_probe(8, DIMENSION)
    content = {"state_dict_model": old_state_dict(network), "state_dict": old_state_dict(probe)}
    save_as_in_2018(content, folder / "affectnet_4views.pth")
    write_model(folder / "models/fabnet")
    (folder / "faces").mkdir()
    for name in "abc":
        picture = np.random.default_rng(ord(name)).integers(0, 256, (60, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"faces/{name}.png"), picture)
    return folder


@pytest.fixture
def fabnet(made, monkeypatch, capsys):
    """Runs the command in `made`: (exit code, lines of stdout, lines of stderr)."""
    # Jobs run in this process: starting others takes seconds.
    monkeypatch.setattr(embed_module, "open_engine", lambda name: lambda call, jobs, workers: run_jobs(call, jobs, 1))
    monkeypatch.chdir(made)
    return partial(run_fabnet, monkeypatch, capsys)


def test_every_command_of_the_docs_works_in_their_order(fabnet, made):
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "fabnet"
        code, out, err = fabnet(*arguments)
        assert code == 0, (command, err)
        assert out[0].startswith(f"{arguments[arguments.index('--out') + 1]}: ")
    rows = pq.read_table("faces.parquet").to_pandas()
    assert len(rows) == 3
    assert rows["expression"].notna().all()
    assert len(rows["embedding"][0]) == DIMENSION
    own, copied = (load_model(name)[0].state_dict() for name in ("models/fabnet", "copies/fabnet"))
    assert all(torch.equal(copied[name], own[name]) for name in own)
    assert load_model("pretrained/unaligned")[0].conventions.align_corners is False
    assert load_model("pretrained/plain")[0].conventions.align_corners is True
    (snippet,) = (block for language, block in BLOCKS if language == "python")
    names: dict[str, np.ndarray] = {}
    exec(snippet, names)
    with torch.no_grad():
        expected = load_model("models/fabnet")[0].encoder(torch.from_numpy(names["frames"])).numpy()
    assert np.abs(names["embeddings"] - expected).max() < 1e-4


def test_what_import_says(fabnet, tmp_path):
    file = "affectnet_4views.pth"
    code, out, _ = fabnet("weights", "import", file, "--out", tmp_path / "m", "--sources", "1", "--pixels", "signed")
    assert code == 0
    assert re.fullmatch(rf".*/m: fabnet of {SIZE} px, 4 filters, 16 dimensions, 1 source\(s\), weights .{{12}}", out[0])
    assert out[1:] == ["left aside: mask.*"]
    assert load_model(tmp_path / "m")[0].conventions.unit_input is False


def test_angles_are_read_as_radians_unless_said_otherwise(fabnet, made, tmp_path):
    torch.save(reference_probe(3, DIMENSION).state_dict(), tmp_path / "pose.pth")
    options = ("--probe", tmp_path / "pose.pth", "--task", "pose")
    weights = {}
    for angles in ("radians", "degrees"):
        out = tmp_path / angles
        assert fabnet("weights", "import", "affectnet_4views.pth", "--out", out, *options, "--angles", angles)[0] == 0
        weights[angles] = np.load(out / "heads.npz", allow_pickle=False)["pose/weight"]
    np.testing.assert_allclose(weights["radians"], np.degrees(weights["degrees"]), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("import", "absent.pth", "--out", "x"), 1, "absent.pth: no such file of weights"),
        (("import", "faces/a.png", "--out", "x"), 1, "faces/a.png: not a file of weights"),
        (("import", "affectnet_4views.pth", "--out", "faces"), 1, "faces: exists"),
        (("import", "affectnet_4views.pth", "--out", "x", "--probe", "p.pth"), 2, "--probe: each needs its --task"),
        (("export", "models/fabnet", "--out", "x.pt"), 2, "--out x.pt: ends with neither .safetensors nor .onnx"),
        (("export", "faces", "--out", "x.onnx"), 1, "faces/model.json: no such file"),
        (("export", "models/fabnet", "--format", "onnx", "--out", "faces"), 1, "faces: is a folder"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(fabnet, made, arguments, code, message):
    before = sorted(made.rglob("*"))
    exit_code, _, err = fabnet("weights", *arguments)
    assert (exit_code, len(err)) == (code, 1)
    assert err[0].startswith(f"error: {message}")
    assert sorted(made.rglob("*")) == before


def test_exporting_is_quiet(made):
    """No warning of an exporter reaches people's terminals."""
    code = "from fabnet.cli.main import main; main()"
    command = [sys.executable, "-c", code, "weights", "export", "models/fabnet", "--out", "quiet.onnx"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("quiet.onnx: onnx, weights ")
