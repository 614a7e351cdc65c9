"""A labelled set that brings embeddings made elsewhere, through the stage baseline as DVC runs it, and the probes."""

import os
from pathlib import Path

import numpy as np
import pytest
import set_layouts as layouts
import warm_process
import yaml

from fabnet.attributes.sets import open_set, targets
from fabnet.config import parse_params
from fabnet.errors import ConfigError
from fabnet.probing.embeddings import read_embeddings, write_embeddings
from fabnet.probing.evaluate import Protocol, probe_constant, probe_embeddings, rows_by_split
from fabnet.probing.intervals import score
from fabnet.probing.problem import Problem
from fabnet.tables import ANGLE_COLUMNS

ROOT = Path(__file__).parents[2]


def stage(folder, name):
    # Tracking points nowhere: it costs a warning, which is not what is tested here.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    return warm_process.run([ROOT / "stages" / name, "mine"], cwd=folder, env=environment)


def params_with(embeddings, **changes):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    chosen = {"kind": "table", "path": "mine", "labels": "labels.csv", "images": "pictures", "embeddings": embeddings}
    params["sets"] = {"mine": {**chosen, **changes}}
    params["extract"]["image_size"] = 32
    params["train"]["common"] |= {"base_filters": 4, "embedding_dim": 16}
    params["probe"] |= {"epochs": 2, "seeds": 1, "shares": [], "logistic_cs": [0.01], "ridge_alphas": [0.01]}
    params["report"]["bootstrap"] = 100
    return params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set with a rival that knows the pose, and one that was made of another set."""
    path = tmp_path_factory.mktemp("project")
    faces = layouts.draw(10, 4)
    table = layouts.own_table(faces)
    layouts.write_own(path / "mine", faces, table[["image", "identity", "split", *ANGLE_COLUMNS]])
    order = np.random.default_rng(0).permutation(len(table))
    (path / "mine/rivals").mkdir()
    np.save(path / "mine/rivals/knows.npy", faces.angles[order].astype(np.float16))
    (path / "mine/rivals/knows.csv").write_text("image\n" + "\n".join(table["image"][order]))
    (path / "params.yaml").write_text(yaml.safe_dump(params_with({"knows": "rivals/knows.npy"})))
    return path


def test_a_rival_is_probed_as_one_more_encoder(folder):
    done = stage(folder, "baseline.py")
    assert done.returncode == 0, done.stderr
    ids, array, meta = read_embeddings(folder / "embeddings/mine/baselines/knows")
    assert ids[:2] == ["face000.png", "face001.png"]
    np.testing.assert_allclose(array, layouts.draw(10, 4).angles, rtol=1e-3, atol=0.02)
    wanted = {"encoder": "knows", "set": "mine", "weights_sha256": None, "recipe_hash": None, "dimension": 3}
    assert {**wanted, "origin": {}} == meta
    assert {path.name for path in (folder / "embeddings/mine/baselines").iterdir()} == {"hog", "pca", "random", "knows"}
    # As the stage `probe` does with every folder of embeddings/SET.
    chosen = parse_params(params_with({}, path=str(folder / "mine")))
    labelled = open_set("mine", chosen.labelled_set("mine"))
    table = labelled.table()
    protocol = Protocol(table, rows_by_split(table, "mine"), None)
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    probed = probe_embeddings(folder / "embeddings/mine/baselines/knows", problems, protocol, chosen.probe, 32)
    constant = score(probe_constant(problems, protocol, 32)[1], 0, 0)["pose_mae_deg"]["value"]
    assert probed.encoder == "knows"
    regularised = next(part for part in probed.predictions if (part["probe"] == "regularised").all())
    assert score(regularised, 0, 0)["pose_mae_deg"]["value"] < 0.1 < constant


def test_embeddings_of_another_set_and_faces_without_one_are_refused(folder):
    faces = layouts.own_table(layouts.draw(10, 4))["image"].tolist()
    write_embeddings(folder / "mine/other", faces, [np.ones((40, 2))], 2, 40, {"encoder": "x", "set": "theirs"})
    write_embeddings(folder / "mine/few", faces[1:], [np.ones((39, 2))], 2, 39, {"encoder": "x"})
    before = (folder / "params.yaml").read_text()
    try:
        for name, said in (
            ("other", "mine/other/embeddings.npy: embeddings of the labelled set theirs, not of mine"),
            ("few", "mine/few/embeddings.npy: 1 of 40 labelled faces have no embedding (first: face000.png)"),
        ):
            (folder / "params.yaml").write_text(yaml.safe_dump(params_with({"rival": name})))
            done = stage(folder, "baseline.py")
            assert done.returncode == 1
            assert done.stderr.strip().splitlines()[-1].startswith(f"error: {said}")
            assert not (folder / "embeddings/mine/baselines/rival").exists()
    finally:
        (folder / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    ("embeddings", "said"),
    [
        ({"fabnet": "x.npy"}, "sets.mine.embeddings.fabnet: is the name of a trained variant; choose another one"),
        ({"hog": "x.npy"}, "sets.mine: embeddings.hog is the name of a baseline; choose another one"),
        ({"rival": "/x.npy"}, "sets.mine: embeddings.rival must be named below `path`, not /x.npy"),
        ({"rival": "../x.npy"}, "sets.mine: embeddings.rival must be named below `path`"),
        ({"My rival": "x.npy"}, "sets.mine.embeddings.My rival: "),
    ],
)
def test_names_and_places_that_are_refused(embeddings, said):
    with pytest.raises(ConfigError) as error:
        parse_params(params_with(embeddings))
    assert str(error.value).startswith(f"params: {said}")


def test_the_embedded_set_takes_none():
    """Its folder is written, and emptied, by a stage."""
    params = params_with({})
    params["sets"]["mine"] = {"kind": "synthetic", "path": "faces", "embeddings": {"rival": "x.npy"}}
    with pytest.raises(ConfigError, match=r"embeddings is no option of kind synthetic.*use `fabnet probe`"):
        parse_params(params)
