"""`fabnet embed` and `fabnet preview` as commands: every command of docs/embed.md, exit codes, and errors in a line."""

import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from commands import run_fabnet
from inference_files import DIMENSION, write_colours, write_model, write_random_heads, write_talk

from fabnet.files import read_json, write_json
from fabnet.inference import embed as embed_module
from fabnet.processes import run_jobs

DOCS = (Path(__file__).parents[2] / "docs/embed.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files that the commands of the docs name."""
    folder = tmp_path_factory.mktemp("project")
    write_model(folder / "models/fabnet")
    write_random_heads(folder / "probes/synthetic/heads/fabnet.npz", folder / "models/fabnet")
    write_talk(folder / "talk.mp4")
    shutil.copy(folder / "talk.mp4", folder / "interview.mp4")
    (folder / "photos").mkdir()
    cv2.imwrite(str(folder / "photos/a.png"), np.full((50, 40, 3), 99, np.uint8))
    return folder


@pytest.fixture
def at_once(monkeypatch):
    """Jobs run in this process: starting others takes seconds."""
    monkeypatch.setattr(embed_module, "open_engine", lambda name: lambda call, jobs, workers: run_jobs(call, jobs, 1))


@pytest.fixture
def fabnet(made, monkeypatch, capsys):
    """Runs the command in `made`: (exit code, lines of stdout, lines of stderr)."""
    monkeypatch.chdir(made)
    return partial(run_fabnet, monkeypatch, capsys)


def in_the_docs():
    return [line for language, block in BLOCKS if not language for line in block.splitlines()]


@pytest.mark.parametrize("command", in_the_docs())
@pytest.mark.usefixtures("at_once")
def test_every_command_of_the_docs_works(command, fabnet):
    program, *arguments = shlex.split(command)
    assert program == "fabnet"
    code, out, err = fabnet(*arguments)
    assert code == 0, err
    written = Path(arguments[arguments.index("--out") + 1] if "--out" in arguments else "interview.preview.png")
    assert out[0].startswith(f"{written}: ")
    if written.suffix == ".png":
        assert cv2.imread(str(written)).shape[0] > 300
    else:
        rows = pq.read_table(written).to_pandas()
        assert len(rows) > 2
        tables = "".join(re.findall(r"^\| column \|.*\n(?:\|.*\n)+", DOCS, flags=re.MULTILINE))
        documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", tables, flags=re.MULTILINE))))
        documented -= {"score"} - set(rows)  # of faces that were detected
        if "--heads" in arguments:
            ellipses = {column for column in rows if re.match(r"au\d\d|expression_", column)}
            assert set(rows) - ellipses <= documented <= set(rows)
        else:
            assert set(rows) == documented & set(rows)


def test_the_docs_have_commands_for_both():
    assert {command.split()[1] for command in in_the_docs()} == {"embed", "preview"}
    assert len(in_the_docs()) >= 6


@pytest.mark.usefixtures("at_once")
def test_the_python_of_the_docs_works(fabnet):
    assert fabnet("embed", "talk.mp4", "--model", "models/fabnet", "--out", "talk.parquet")[0] == 0
    (block,) = (block for language, block in BLOCKS if language == "python")
    names: dict = {}
    exec(block, names)
    assert names["embeddings"].shape == (3, DIMENSION)
    assert names["weights"] == read_json("models/fabnet/model.json")["weights_sha256"]


@pytest.mark.usefixtures("at_once")
def test_detection_finds_the_face_where_it_is(fabnet):
    """It was drawn into the square from (100, 20) to (228, 148), with some room around it."""
    options = ("--model", "models/fabnet", "--faces", "detect", "--force", "--out", "found.parquet")
    code, out, err = fabnet("embed", "talk.mp4", *options)
    assert (code, out) == (0, ["found.parquet: 3 faces in 1 track of 1 input"]), err
    rows = pd.read_parquet("found.parquet")
    middle = (rows["left"] + rows["right"]) / 2, (rows["top"] + rows["bottom"]) / 2
    assert all(abs(x - 164) < 25 and abs(y - 84) < 25 for x, y in zip(*middle, strict=True))
    assert (rows["right"] - rows["left"]).between(50, 120).all()
    assert set(rows["recipe"]).isdisjoint({read_json("models/fabnet/model.json")["recipe"]["hash"]})


def test_another_recipe_is_refused_in_a_line(fabnet):
    code, out, err = fabnet("embed", "talk.mp4", "--model", "models/fabnet", "--faces", "detect", "--out", "no.parquet")
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("error: the model learnt from crops of recipe ")
    assert "source: cropped in the model's, detected here" in err[0]
    assert "--force" in err[0]
    assert not Path("no.parquet").exists()


def test_bad_inputs_are_listed_and_strict_refuses_them(fabnet):
    Path("text.mp4").write_text("no video")
    options = ("--model", "models/fabnet", "--out", "some.parquet", "--workers", 1)
    code, out, err = fabnet("embed", "talk.mp4", "text.mp4", "missing.mp4", *options)
    assert (code, out) == (0, ["some.parquet: 3 faces in 1 track of 1 input"])
    assert err[-3] == "2 inputs gave no rows:"
    assert err[-2] == "  missing.mp4: does not exist"
    assert err[-1].startswith("  text.mp4: unreadable: ")
    Path("some.parquet").unlink()
    code, out, err = fabnet("embed", "talk.mp4", "text.mp4", *options, "--strict")
    assert (code, out) == (1, [])
    assert err[-1].startswith("error: --strict: text.mp4: unreadable: ")
    assert not Path("some.parquet").exists()
    shutil.rmtree("some.parquet.parts")
    code, _, err = fabnet("embed", "text.mp4", *options)
    assert (code, err[-1].partition(" (")[0]) == (1, err[-1])
    assert err[-1].startswith("error: no face in any input: text.mp4: unreadable")


def test_a_model_that_is_none_is_refused(fabnet, tmp_path):
    def refusal():
        code, out, err = fabnet("embed", "talk.mp4", "--model", tmp_path / "m", "--out", "x.parquet")
        assert (code, out, len(err)) == (1, [], 1)
        return err[0]

    assert refusal().endswith("model.json: no such file; a model is a folder as `train` writes it, such as models/NAME")
    write_model(tmp_path / "m")
    card = read_json(tmp_path / "m/model.json")
    write_model(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other/best.pt", tmp_path / "m/best.pt")
    assert "but model.json describes weights" in refusal()
    write_json(tmp_path / "m/model.json", {key: value for key, value in card.items() if key != "recipe"})
    assert refusal().endswith("model.json: lacks recipe; train the variant again")
    (tmp_path / "m/model.json").write_text("{")
    assert "not the description of a model" in refusal()


def test_probes_of_another_model_are_refused(fabnet, tmp_path):
    write_random_heads(tmp_path / "heads.npz", write_model(tmp_path / "other", seed=1))
    options = ("--model", "models/fabnet", "--out", "x.parquet", "--heads", tmp_path / "heads.npz")
    code, out, err = fabnet("embed", "talk.mp4", *options)
    assert (code, out, len(err)) == (1, [], 1)
    assert "heads.npz: the embeddings of its probes were made with weights" in err[0]
    assert "but models/fabnet has weights" in err[0]


def test_probes_of_crops_of_another_recipe_are_refused(fabnet, tmp_path):
    other = tmp_path / "fabnet"
    shutil.copytree("models/fabnet", other)
    card = read_json(other / "model.json")
    write_json(other / "model.json", card | {"recipe": card["recipe"] | {"hash": "another"}})
    write_random_heads(tmp_path / "heads.npz", other)
    options = ("--model", "models/fabnet", "--out", "x.parquet", "--heads", tmp_path / "heads.npz")
    code, out, err = fabnet("embed", "talk.mp4", *options)
    assert (code, out, len(err)) == (1, [], 1)
    assert "were made with crop recipe another, but models/fabnet has crop recipe" in err[0]


def test_impossible_options_name_themselves(fabnet):
    code, _, err = fabnet("embed", "talk.mp4", "--model", "models/fabnet", "--out", "x.parquet", "--fps", "0")
    assert code == 2
    assert err == ["error: fps: Input should be greater than 0"]
    code, _, err = fabnet("embed", "talk.mp4", "--model", "models/fabnet", "--out", "photos")
    assert (code, err) == (1, ["error: photos: is a folder; --out names the file to write"])


def test_workers_share_the_inputs_and_give_the_same_bytes(fabnet, tmp_path):
    clips = [write_colours(tmp_path / f"{name}.mp4", 8) for name in "abc"]
    for workers in (1, 2):
        options = ("--model", "models/fabnet", "--out", f"{workers}.parquet", "--workers", workers)
        assert fabnet("embed", *clips, *options)[0] == 0
    assert Path("1.parquet").read_bytes() == Path("2.parquet").read_bytes()
    assert pq.read_table("1.parquet")["embedding"].type.list_size == DIMENSION


def test_preview_says_what_it_drew(fabnet, tmp_path):
    clip = write_colours(tmp_path / "none.mp4", 13)
    code, out, _ = fabnet("preview", clip, "--faces", "detect")
    assert code == 0
    assert out[0] == "none.preview.png: 3 frames, 0 tracks"
    assert out[1].startswith("  rejected: no_face: ")
