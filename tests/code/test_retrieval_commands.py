"""`fabnet index` and `fabnet search` as commands: every command of docs/retrieval.md, and errors in a line."""

import json
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from commands import run_fabnet
from inference_files import DIMENSION, write_model, write_talk

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.inference.embed import embed
from fabnet.inference.search import of_file
from fabnet.model import load
from fabnet.probing.embeddings import write_embeddings
from fabnet.retrieval.exact import unit
from fabnet.video.recipe import recipe

DOCS = (Path(__file__).parents[2] / "docs/retrieval.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files that the commands of the docs name: four images and a video embedded, twelve faces of four people."""
    folder = tmp_path_factory.mktemp("project")
    model = load(write_model(folder / "models/fabnet"))
    random = np.random.default_rng(0)
    write_talk(folder / "talk.mp4")
    for name in "abcd":
        (folder / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"photos/{name}.png"), random.integers(0, 256, (40, 40, 3), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = ExtractParams.standalone(videos=".", image_size=model.size, workers=1, source="cropped")
        embed(["talk.mp4", "photos"], model, Path("faces.parquet"), params)
    names = [f"p{person}-{number:02d}" for person in range(4) for number in range(3)]
    array = random.normal(size=(12, DIMENSION)).astype(np.float32)
    meta = {"encoder": "fabnet", "weights_sha256": model.weights_sha256, "recipe_hash": recipe(params)["hash"]}
    write_embeddings(folder / "embeddings/synthetic/trained/fabnet", names, [array], DIMENSION, 12, meta)
    labels = pd.DataFrame({"face_id": names, "identity": [name[:2] for name in names], "image": "x.png"})
    labels[["left", "top"]], labels[["right", "bottom"]] = 5.0, 35.0
    labels.to_parquet(folder / "labels.parquet")
    (folder / "pictures").mkdir()
    shutil.copy(folder / "photos/a.png", folder / "pictures/x.png")
    return folder


@pytest.fixture
def fabnet(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    return partial(run_fabnet, monkeypatch, capsys)


@pytest.fixture
def index(fabnet):
    """faces.index, as the docs build it."""
    assert fabnet("index", "build", "faces.parquet")[0] == 0
    return Path("faces.index")


def refusal(fabnet, *arguments):
    code, out, err = fabnet(*arguments)
    assert (code != 0, out, len(err)) == (True, [], 1), (code, out, err)
    return err[0]


def test_every_command_of_the_docs_works(fabnet):
    pytest.importorskip("faiss")
    for command in COMMANDS:
        _, *arguments = shlex.split(command)
        code, out, err = fabnet(*arguments)
        assert (code, err) == (0, []), (command, err)
        if arguments[0] == "search":
            assert out[0].startswith(f"{arguments[arguments.index('--out') + 1]}: ")
    assert "hnsw, recall@3 " in out[0]
    page = Path("others.html").read_text()
    assert page.count("data:image/jpeg") == 4
    # An empty icon within the page keeps browsers from asking for one.
    assert not re.search(r'https?:|<script|<link(?! rel="icon" href="data:,">)', page)
    assert Path("like.html").read_text().count("<li ") == 3
    found = tables.read("like.parquet", tables.Neighbours)
    assert found["rank"].tolist() == [1, 2, 3]
    assert "photos/a.png" not in found["id"].tolist()  # it is of the same video, which is left out
    index_json = json.loads(Path("people.index/index.json").read_text())
    assert (index_json["dtype"], index_json["count"]) == ("float16", 12)


def test_the_python_of_the_docs_works():
    (block,) = (block for language, block in BLOCKS if language == "python")
    names: dict = {}
    exec(block, names)
    assert names["found"].rows.shape == (4, 10)
    assert (names["found"].rows % 50 != np.arange(4)[:, None]).all()


def queries_of(path, **options):
    model = load(Path("models/fabnet"))
    return of_file(path, model, model.face_params(), **options)


@pytest.mark.usefixtures("fabnet")
def test_files_are_embedded_as_embed_does_it():
    rows = pd.read_parquet("faces.parquet").set_index("input")["embedding"]
    (image,) = queries_of("photos/b.png")
    np.testing.assert_allclose(image.vector, unit(rows["photos/b.png"][None])[0], atol=1e-5)
    frames = unit(np.stack(rows["talk.mp4"].tolist()))
    each = queries_of("talk.mp4", each_frame=True)
    assert [query.name for query in each] == [f"talk.mp4#0#{n}" for n in range(3)]
    np.testing.assert_allclose([query.vector for query in each], frames, atol=1e-5)
    (track,) = queries_of("talk.mp4")
    assert (track.name, track.video, track.track) == ("talk.mp4", "talk.mp4", "talk.mp4#0")
    np.testing.assert_allclose(track.vector, unit(frames.mean(axis=0)[None])[0], atol=1e-5)


def test_same_identity(fabnet):
    build = ("index", "build", "embeddings/synthetic/trained/fabnet", "--out", "p.index", "--about", "labels.parquet")
    assert fabnet(*build)[0] == 0
    for choice, count, missing in (("keep", 11, "1 neighbour"), ("leave-out", 9, "3 neighbours")):
        options = ("--same-identity", choice, "--k", 12, "--out", "p.parquet")
        code, _, err = fabnet("search", "--index", "p.index", "--query", "p1-00", *options)
        assert (code, err) == (0, [f"{missing} fewer than asked for: too few rows were not left out"])
        assert len(tables.read("p.parquet", tables.Neighbours)) == count


def test_bad_queries_are_refused_in_a_line(fabnet, index, tmp_path):
    search = partial(refusal, fabnet, "search", "--index", index, "--out", "no.parquet")
    assert "--query nothing: neither a file nor an id of faces.index" in search("--query", "nothing")
    assert "--query : neither a file nor an id of faces.index" in search("--query", "")
    assert "--k 99: the index has 7 rows; ask for at most 7" in search("--query", "photos/a.png", "--k", 99)
    assert "needs --model" in search("--query", "labels.parquet")
    assert "has no approximate part" in search("--query", "photos/a.png", "--k", 2, "--ann")
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((80, 80, 3), 99, np.uint8))
    model = ("--model", "models/fabnet")
    blank = search("--query", tmp_path / "blank.png", *model, "--faces", "detect", "--force")
    assert "blank.png: no_face:" in blank
    assert "recipe" in search("--query", tmp_path / "blank.png", *model, "--faces", "detect")
    write_model(tmp_path / "other", seed=1)
    assert "its embeddings were made with weights" in search(
        "--query", tmp_path / "blank.png", "--model", tmp_path / "other"
    )
    assert not Path("no.parquet").exists()
    assert "cut short" in refused_when_cut(fabnet, index)


def refused_when_cut(fabnet, index):
    vectors = index / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-8])
    return refusal(fabnet, "search", "--index", index, "--query", "photos/a.png", "--out", "no.parquet")


def test_bad_embeddings_are_refused_in_a_line(fabnet, tmp_path):
    assert "no such file" in refusal(fabnet, "index", "build", tmp_path / "none.parquet")
    array = np.ones((3, 4), np.float32)
    array[1] = np.nan
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "ids.txt").write_text("x\ny\nz\n")
    assert "row 1 (y) holds a number that is not finite" in refusal(fabnet, "index", "build", tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    (tmp_path / "about.csv").write_text("face_id,identity\nq,1\n")
    told = refusal(fabnet, "index", "build", tmp_path / "a.npy", "--about", tmp_path / "about.csv")
    assert "names none of the 3 faces" in told
    assert not (tmp_path / "a.index").exists()
