"""Every command of docs/looking-inside.md, what they refuse, and the section of the report."""

import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import cv2
import pandas as pd
import pytest
from commands import run_fabnet
from inference_files import SIZE, write_random_heads, write_talk
from warping_models import blank, drawn_face, read_frames, write_frames, write_history, write_jpeg, write_warping

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.figures.pictures import Gap, Picture
from fabnet.inspection.scenes import find_heads, open_pool, read_pool
from fabnet.report import blocks
from fabnet.report import inside as report
from fabnet.report.blocks import Text
from fabnet.video.extract import extract

DOCS = (Path(__file__).parents[2] / "docs/looking-inside.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three people in videos of eight frames, of whom two are for tests; models, probes, a picture."""
    root = tmp_path_factory.mktemp("project")
    for person in ("ann", "bob", "cid"):
        frames = [drawn_face(0.3 * number, 64) for number in range(8)]
        write_frames(root / f"videos/{person}/interview.mp4", frames, rate=1)
    params = {"videos": root / "videos", "source": "cropped", "image_size": SIZE, "workers": 1}
    extract(ExtractParams.standalone(**params), root / "data/frames", root / ".work")
    people = pd.DataFrame({"identity": ["ann", "bob", "cid"], "split": ["train", "test", "test"]})
    tables.write(people, root / "data/splits.parquet", tables.Splits)
    for name, sources in (("fabnet", 1), ("fabnet_3src", 3)):
        write_warping(root / "models" / name, sources)
        write_history(root / "models" / name)
        write_random_heads(root / f"probes/synthetic/heads/{name}.npz", root / "models" / name)
    write_warping(root / "models/autoencoder", objective="autoencoder")
    write_jpeg(root / "photo.jpg", drawn_face(0.0))
    write_jpeg(root / "wall.jpg", blank())
    write_talk(root / "talk.mp4", seconds=2)
    shutil.copyfile(root / "talk.mp4", root / "interview.mp4")
    return root


@pytest.fixture
def fabnet(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    return partial(run_fabnet, monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_docs_works(command, fabnet):
    program, *arguments = shlex.split(command)
    assert program == "fabnet"
    code, out, err = fabnet(*arguments)
    assert code == 0, err
    if arguments[0] == "figure":
        written = Path(arguments[arguments.index("--out") + 1])
        assert out[0].startswith(f"{written}: ")
        assert min(cv2.imread(str(written)).shape[:2]) > 250
    else:
        assert out == ["moved.mp4: 10 frames"]
        frames, rate = read_frames(Path("moved.mp4"))
        assert (len(frames), rate) == (10, 5)


def test_the_docs_show_every_figure():
    figures = {command.split()[2] for command in COMMANDS if command.split()[1] == "figure"}
    assert figures == {"warped", "interpolation", "transfer", "confidence", "curves"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("animate photo.jpg talk.mp4 a.gif", "error: a.gif: the result is an MP4 file; name it a.mp4"),
        ("animate photo.jpg none.mp4 a.mp4", "error: none.mp4: does not exist"),
        (
            "animate photo.jpg talk.mp4 a.mp4 --model models/none",
            "error: models/none/model.json: no such file; a model",
        ),
        (
            "animate photo.jpg talk.mp4 a.mp4 --model models/autoencoder",
            "error: models/autoencoder: was trained with objective autoencoder, which has no flow",
        ),
        ("animate photo.jpg talk.mp4 a.mp4 --faces detect", "error: the model learnt from crops of recipe "),
        (
            "animate wall.jpg talk.mp4 a.mp4 --faces detect --force",
            "error: wall.jpg: no face in it: blazeface found none",
        ),
        ("figure warped --model models/fabnet --out a.jpg", "error: a.jpg: the figure is a PNG file; name it a.png"),
        (
            "figure warped --model models/autoencoder --out a.png",
            "error: models/autoencoder: was trained with objective",
        ),
        ("figure warped --model models/none --out a.png", "error: models/none/model.json: no such file"),
        ("figure confidence --model models/fabnet --out a.png", "error: the model takes one source"),
        (
            "figure curves --model models/autoencoder --out a.png",
            "error: models/autoencoder/history.parquet: no such file",
        ),
        ("figure warped --model models/fabnet --out a.png --frames x", "error: x/index.parquet: no such file"),
        ("figure warped --model models/fabnet --out a.png --splits x", "error: x: no such file; run the stage `split`"),
        (
            "figure warped --model models/fabnet --out a.png --heads probes/synthetic/heads/fabnet_3src.npz",
            "error: probes/synthetic/heads/fabnet_3src.npz: the embeddings of its probes were made with ",
        ),
    ],
)
def test_what_is_of_no_use_is_one_line(arguments, line, fabnet):
    code, out, err = fabnet(*arguments.split())
    assert (code, out) == (1, [])
    assert err[-1].startswith(line)
    assert [each for each in err if each.startswith("error")] == err[-1:]
    assert not list(Path().glob("a.*"))


def test_probes_of_these_weights_are_found_and_others_are_not(project):
    model = project / "models/fabnet"
    assert find_heads(model, project / "probes") == project / "probes/synthetic/heads/fabnet.npz"
    assert find_heads(project / "models/autoencoder", project / "probes") is None
    pool = open_pool(project / "data/frames", project / "data/splits.parquet")
    assert len(pool.tracks()) == 2  # of the test identities
    assert read_pool(model, pool, None).angles_N3 is None
    read = read_pool(model, pool, find_heads(model, project / "probes"))
    assert read.angles_N3.shape == (16, 3)
    assert read.mouth_N.shape == (16,)


def test_too_short_tracks_are_said(project, tmp_path):
    people = pd.DataFrame({"identity": ["ann"], "split": ["train"]})
    tables.write(people, tmp_path / "splits.parquet", tables.Splits)
    with pytest.raises(UserError, match="no track of 0 test identities has 3 frames"):
        open_pool(project / "data/frames", tmp_path / "splits.parquet")


# -- the report ----------------------------------------------------------------------------------------------------


def section(project, out, names=("fabnet", "autoencoder", "fabnet_3src")):
    models = {name: project / "models" / name for name in names}
    data = project / "data"
    arguments = (models, data / "frames", data / "splits.parquet", project / "probes", out)
    return blocks.section("Looking inside", "inside", lambda: report.inside(*arguments))


def test_the_section_has_a_figure_of_each_kind(project, tmp_path):
    found = section(project, tmp_path)
    files = [[block.path.name for block in part.blocks] for part in found.sections]
    assert files == [
        ["warped_fabnet.png", "warped_fabnet_3src.png"],
        ["confidence_fabnet_3src.png"],
        ["interpolation_fabnet.png"],
        ["transfer_fabnet.png"],
    ]
    drawn = [block for part in found.sections for block in part.blocks]
    assert all(block.path.read_bytes().startswith(b"\x89PNG") and block.alt and block.caption for block in drawn)
    assert isinstance(found.blocks[0], Text)
    anchors = [part.anchor for part in found.sections]
    assert anchors == ["inside-warped", "inside-confidence", "inside-interpolation", "inside-transfer"]


def test_a_figure_that_fails_is_a_gap_and_the_others_are_drawn(project, tmp_path, monkeypatch):
    def fail(seen):
        raise UserError("no track has 4 frames")

    monkeypatch.setitem(report.DRAWINGS, "interpolation", fail)
    found = section(project, tmp_path, ["fabnet"])
    assert [type(part.blocks[0]) for part in found.sections] == [Picture, Gap, Picture]
    assert found.sections[1].blocks[0].why == "no track has 4 frames"
    (tmp_path / "empty").mkdir()
    models = {"fabnet": project / "models/fabnet"}
    (lost,) = report.inside(models, tmp_path / "empty", project / "data/splits.parquet", tmp_path, tmp_path)
    assert isinstance(lost, Gap)
    assert "index.parquet: no such file" in lost.why


def test_without_a_network_that_warps_it_says_so(project, tmp_path):
    (told,) = section(project, tmp_path, ["autoencoder"]).blocks
    assert "No model of objective `fabnet`" in told.markdown
