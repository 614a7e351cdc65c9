"""The stage retrieve, run as DVC runs it, on a tiny set: what it writes, and what the report makes of it."""

import contextlib
import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import warm_process
import yaml
from labelled_faces import write_labelled_faces

from fabnet import tables
from fabnet.config import load_params, parse_params
from fabnet.errors import ConfigError, UserError
from fabnet.figures.pictures import Picture
from fabnet.files import read_json
from fabnet.probing.embeddings import write_embeddings
from fabnet.report.blocks import Table, Text, gaps_of, section
from fabnet.report.retrieval import retrieval
from fabnet.retrieval.samples import sample_of_faces, searched_faces

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "shown": [],
    "k": 4,
    "bootstrap": 100,
    "rows": {"queries": 3, "neighbours": 2},
    "map": {"points": 30, "perplexity": 30},
}


def retrieve(folder):
    """The stage in this process, since a new one takes seconds to start."""
    with importable(ROOT / "stages"), contextlib.chdir(folder):
        importlib.import_module("retrieve").main("tiny")


@contextlib.contextmanager
def importable(folder):
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def project(folder, **settings):
    """A set `tiny` with embeddings of encoders that know the pose, and that know nothing."""
    labels = write_labelled_faces(folder / "faces", identities=20, per_identity=8)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["sets"] = {"tiny": {"kind": "synthetic", "path": "faces"}}
    params["extract"]["image_size"] = 32
    params["retrieve"] |= SETTINGS | settings
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    ids = labels["face_id"].tolist()
    knows = labels[list(tables.ANGLE_COLUMNS)].to_numpy() / 20
    noise = np.random.default_rng(0).normal(size=(len(ids), 5))
    for where, values in (("trained/fabnet", knows), ("trained/autoencoder", noise), ("baselines/hog", noise[:, :3])):
        batch = values.astype(np.float32)
        write_embeddings(folder / "embeddings/tiny" / where, ids, [batch], batch.shape[1], len(ids), {})
    return labels


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    labels = project(folder)
    retrieve(folder)
    return folder, labels


def test_scores_tell_the_encoder_that_knows(done):
    folder, labels = done
    found = read_json(folder / "reports/retrieval/sets/tiny.json")
    assert found["faces"] == {"gallery": 32, "queries": 32}
    assert found["people"] == {"gallery": 4, "queries": 4}
    assert found["gaps"] == {}
    scores = found["scores"]["kept"]
    assert set(scores) == {"chance", "fabnet", "autoencoder", "hog"}
    assert scores["fabnet"]["pose_difference_deg"]["times_chance"]["high"] < 0.7
    assert scores["fabnet"]["pose_difference_deg"]["minus_reference"]["high"] < 0
    test = labels[labels["split"] == "test"]
    yaw = test["yaw_deg"].to_numpy()
    pairs = np.abs(yaw[:, None] - yaw)[~np.eye(32, dtype=bool)]
    assert scores["chance"]["yaw_difference_deg"]["value"] == pytest.approx(pairs.mean())


def test_neighbours_are_those_of_a_naive_search(done):
    folder, labels = done
    table = tables.read(folder / "retrieval/sets/tiny/neighbours.parquet", tables.RetrievedFaces)
    assert set(table["encoder"]) == {"fabnet", "autoencoder"}
    test = labels[labels["split"] == "test"].set_index("face_id")
    vectors = test[list(tables.ANGLE_COLUMNS)].to_numpy(dtype=np.float32) / 20
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = pd.DataFrame(vectors @ vectors.T, test.index, test.index)
    for query in test.index[::5]:
        others = test.index[test["identity"] != test.loc[query, "identity"]]
        expected = cosine.loc[query, others].sort_values(ascending=False).index[:4].tolist()
        rows = table[table["query"].eq(query) & table["encoder"].eq("fabnet") & table["same_identity"].eq("left_out")]
        assert rows.sort_values("rank")["neighbour"].tolist() == expected


def test_the_same_run_gives_the_same_files(done, tmp_path):
    folder, _ = done
    again = tmp_path / "again"
    shutil.copytree(folder, again, ignore=shutil.ignore_patterns("reports", "retrieval"))
    retrieve(again)
    files = [path.relative_to(folder) for part in ("reports", "retrieval") for path in (folder / part).rglob("*.*")]
    assert len([path for path in files if path.suffix == ".png"]) == 6
    assert [path for path in files if (folder / path).read_bytes() != (again / path).read_bytes()] == []


def test_the_report_shows_it(done):
    folder, _ = done
    shown = section("Retrieval", "retrieval", lambda: retrieval(["tiny"], folder / "reports/retrieval"))
    tiny, frames = shown.sections
    heads = [block.head for block in tiny.blocks if isinstance(block, Table)]
    assert heads[0][:2] == ["encoder", "yaw ° ↓"]
    assert heads[0][-1] == "same identity % ↓"
    assert heads[1] == heads[0][:-1]
    assert heads[2] == ["encoder", "yaw over `chance`'s ↓", "yaw less `autoencoder`'s, ° ↓"]
    figures = [block.path.name for block in tiny.blocks if isinstance(block, Picture)]
    kinds = ("rows", "expressions", "map")
    assert figures == [f"{kind}_{encoder}.png" for kind in kinds for encoder in ("fabnet", "autoencoder")]
    assert [sub.title for sub in tiny.sections] == ["By the query's expression"]
    # The frames were not searched here: a gap, and nothing else is lost.
    (gap,) = gaps_of([shown])
    assert gap.what == frames.title
    assert "frames.json: no such file" in gap.why


def test_one_class_and_no_angles_leave_words_in_the_report(tmp_path):
    labels = project(tmp_path, reference="vgg_face", shown=["hog"])
    poor = labels.drop(columns=["landmarks68", *tables.ANGLE_COLUMNS, *tables.UNIT_COLUMNS]).assign(expression="sad")
    tables.write(poor, tmp_path / "faces/labels.parquet", tables.Labels)
    retrieve(tmp_path)
    shown = section("Retrieval", "retrieval", lambda: retrieval(["tiny"], tmp_path / "reports/retrieval")).sections[0]
    said = " ".join(block.markdown for block in shown.blocks if isinstance(block, Text))
    assert "all faces of the gallery are sad: any order of them is right" in said
    assert "the labels have no yaw" in said
    assert "differences from vgg_face (there are no embeddings of that name)" in said
    figures = [block.path.name for block in shown.blocks if isinstance(block, Picture)]
    assert figures == ["rows_hog.png", "map_hog.png"]
    assert list(gaps_of([shown])) == []


def test_neighbours_of_too_few_faces_are_one_clear_line(tmp_path):
    project(tmp_path, k=32)
    run = warm_process.run([ROOT / "stages/retrieve.py", "tiny"], cwd=tmp_path)
    line = "error: sets.tiny: 32 test faces are too few for 32 neighbours of each; lower retrieve.k"
    assert run.stderr.strip().splitlines()[-1] == line
    assert run.returncode == 1
    assert not (tmp_path / "retrieval").exists()


def test_an_encoder_that_is_not_there_cannot_be_shown(tmp_path):
    project(tmp_path, shown=["rotation"])
    with pytest.raises(
        UserError, match=r"retrieve\.shown: no embeddings of rotation; there are hog, autoencoder, fabnet"
    ):
        retrieve(tmp_path)
    assert not (tmp_path / "retrieval").exists()


def test_a_set_without_test_faces_has_an_empty_gallery(tmp_path):
    labels = write_labelled_faces(tmp_path / "faces", identities=5, per_identity=2)
    asked = load_params(ROOT / "params.yaml").retrieve
    with pytest.raises(UserError, match=r"^sets\.own: the gallery is empty: no face of the set is a test face"):
        searched_faces(labels[labels["split"] == "train"], asked, "sets.own")


def test_frames_of_one_clip_are_one_recording():
    faces = pd.DataFrame(
        {
            "face_id": list("abcd"),
            "identity": ["p", "p", "q", "q"],
            "image": ["x/one.mp4@0.2500", "x/one.mp4@0.7500", "x/two.mp4@0.5000", "me@home.jpg"],
        }
    )
    sample = sample_of_faces(faces, load_params(ROOT / "params.yaml").retrieve)
    assert sample.recordings == [["x/one.mp4", "x/one.mp4", "x/two.mp4", "me@home.jpg"]]


def test_params_are_checked():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["retrieve"] |= {"k": 20, "gallery": 20}
    with pytest.raises(ConfigError, match="retrieve: k is 20, but `gallery` has 20 faces, of which one is the query"):
        parse_params(values)
