"""`fabnet probe`: embeddings made anywhere and a table of labels, through the command as people run it."""

import inspect
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_fabnet
from committed import committed_values
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fabnet.cli.probe import probe as command
from fabnet.files import read_json
from fabnet.inference.probe import PROBE
from fabnet.probing.embeddings import write_embeddings
from fabnet.probing.predictions import read_predictions
from fabnet.probing.readings import read_heads
from fabnet.tables import ANGLE_COLUMNS, EXPRESSIONS, UNIT_COLUMNS

ROOT = Path(__file__).parents[2]
PEOPLE, EACH = 30, 8
FAST = ("--folds-below", 0, "--seeds", 1, "--epochs", 2, "--bootstrap", 100)
LONG = (
    "--folds-below",
    0,
    "--seeds",
    1,
    "--epochs",
    80,
    "--batch-size",
    64,
    "--learning-rate",
    0.05,
    "--bootstrap",
    100,
)


def labels():
    """All kinds of labels but points, and the features that tell them exactly."""
    random = np.random.default_rng(3)
    count = PEOPLE * EACH
    angles = random.uniform(-30, 30, (count, 3))
    units = random.integers(0, 2, (count, len(UNIT_COLUMNS))).astype(float)
    expressions = random.integers(0, len(EXPRESSIONS), count)
    person = np.arange(count) // EACH
    table = pd.DataFrame({"face_id": [f"f{n:03d}" for n in range(count)], "identity": [f"p{n:02d}" for n in person]})
    table["split"] = np.where(person % 5 == 4, "test", np.where(person % 5 == 3, "validation", "train"))
    table[list(ANGLE_COLUMNS)] = angles
    table["expression"] = [EXPRESSIONS[number] for number in expressions]
    table[list(UNIT_COLUMNS)] = units
    return table, np.concatenate([angles / 20, units, np.eye(len(EXPRESSIONS))[expressions]], axis=1)


@pytest.fixture
def given(tmp_path):
    """labels.csv, and rival.npy with its ids, in float64."""
    table, features = labels()
    table.to_csv(tmp_path / "labels.csv", index=False)
    np.save(tmp_path / "rival.npy", features)
    (tmp_path / "rival.txt").write_text("\n".join(table["face_id"]) + "\n")
    return tmp_path


@pytest.fixture
def probe(monkeypatch, capsys):
    def run(*arguments, fast=FAST):
        return run_fabnet(monkeypatch, capsys, "probe", *arguments, *fast)

    return run


def refused(done):
    code, out, err = done
    assert code != 0
    assert out == []
    assert err[-1].startswith("error: ")
    assert not any("Traceback" in line for line in err)
    return err[-1]


def ours(folder, features, ids, **meta):
    origin = {"encoder": "fabnet", "set": "synthetic", "weights_sha256": "ab" * 32, "recipe_hash": "cd" * 8}
    write_embeddings(folder, ids, [features], features.shape[1], len(ids), {**origin, **meta})
    return folder


def test_a_perfect_embedding_scores_perfectly_and_a_shuffled_one_at_chance(given, probe):
    _, features = labels()
    np.save(given / "shuffled.npy", features[np.random.default_rng(0).permutation(len(features))])
    shutil.copy(given / "rival.txt", given / "shuffled.txt")
    out = given / "out"
    sources = ("--embeddings", given / "rival.npy", "--embeddings", given / "shuffled.npy")
    code, lines, err = probe(*sources, "--labels", given / "labels.csv", "--out", out, fast=LONG)
    assert code == 0, err
    assert lines[0].split() == ["48", "test", "faces", "constant", "rival", "shuffled"]
    scores = read_json(out / "scores.json")["scores"]
    for kind in ("regularised", "paper"):
        perfect, chance, constant = (scores[kind][name] for name in ("rival", "shuffled", "constant"))
        for area in ("units_auc", "expression_auc"):
            assert perfect[area]["value"] == perfect[area]["low"] == 100
            assert chance[area]["low"] < 50 < chance[area]["high"] + 5
            assert constant[area]["value"] == 50
        assert perfect["pose_mae_deg"]["value"] < (0.6 if kind == "paper" else 0.25)
        assert constant["pose_mae_deg"]["value"] > 12
        assert chance["pose_mae_deg"]["high"] > constant["pose_mae_deg"]["low"]
        assert perfect["pose_mae_deg"]["n"] == 48
    difference = read_json(out / "scores.json")["paired"]["shuffled"]["units_auc"]
    wanted = scores["regularised"]["shuffled"]["units_auc"]["value"] - 100
    assert difference["difference"] == pytest.approx(wanted)
    assert difference["apart"]
    assert not (out / "heads").exists()  # nobody could embed a new face


def test_predictions_are_those_of_scikit_learn(given, probe):
    table, features = labels()
    noisy = features + np.random.default_rng(1).normal(size=features.shape)
    np.save(given / "rival.npy", noisy)
    code, _, err = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--out", given / "out")
    assert code == 0, err
    penalty = read_json(given / "out/scores.json")["choices"]["rival"]["regularised"]["pose"]["penalty"]
    train, test = ((table["split"] == split).to_numpy() for split in ("train", "test"))
    angles = table[list(ANGLE_COLUMNS)].to_numpy()
    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty)).fit(noisy[train], angles[train])
    found = read_predictions(given / "out/predictions.parquet", "rival", "regularised")
    found = found[found["task"] == "pose"].set_index("face_id").loc[table["face_id"][test]]
    np.testing.assert_allclose(np.stack(found["prediction"].tolist()), model.predict(noisy[test]), atol=1e-3)
    error = np.abs(model.predict(noisy[test]) - angles[test]).mean()
    scored = read_json(given / "out/scores.json")["scores"]["regularised"]["rival"]["pose_mae_deg"]["value"]
    assert scored == pytest.approx(error, abs=1e-3)


def test_probes_of_embeddings_with_weights_are_kept(given, probe):
    table, features = labels()
    folder = ours(given / "theirs", features, table["face_id"].tolist())
    code, _, err = probe("--embeddings", folder, "--labels", given / "labels.csv", "--out", given / "out")
    assert code == 0, err
    heads = read_heads(given / "out/heads/fabnet.npz")
    assert {key: heads.meta[key] for key in ("encoder", "set", "weights_sha256", "recipe_hash")} == {
        "encoder": "fabnet",
        "set": "labels",
        "weights_sha256": "ab" * 32,
        "recipe_hash": "cd" * 8,
    }
    assert {head.task for head in heads.heads} == {"pose", "units", "expression"}


def test_what_has_no_counterpart_is_counted_and_told(given, probe):
    table, features = labels()
    np.save(given / "rival.npy", features[3:])
    (given / "rival.txt").write_text("\n".join(["stranger", *table["face_id"][4:]]))
    table.loc[10, "yaw_deg"] = np.nan
    table.to_csv(given / "labels.csv", index=False)
    arguments = ("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--out", given / "out")
    code, _, err = probe(*arguments)
    assert code == 0, err
    told = "\n".join(err)
    assert "1 left out: yaw_deg is not given (first: " in told
    assert "labels.csv, line 12: f010" in told
    assert "4 of 239 labelled faces have no embedding in" in told
    assert "labels.csv, line 2: f000)" in told
    assert "2 embeddings of" in told  # the stranger's, and that of the face whose label is missing
    assert "have no label; not used (first: stranger)" in told
    assert read_json(given / "out/scores.json")["labels"]["faces"] == 235
    shutil.rmtree(given / "out")
    assert "4 of 239 labelled faces have no embedding" in refused(probe(*arguments, "--strict"))
    assert not (given / "out").exists()


def test_what_the_labels_leave_open_is_said(given, probe):
    table, _ = labels()
    table[["face_id", *UNIT_COLUMNS]].to_csv(given / "labels.csv", index=False)
    code, lines, err = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv")
    assert code == 0, err
    assert "no column split: 60 / 15 / 25 % train / validation / test by face, seed 0" in err
    assert "no column identity: intervals are by face, and too narrow if people recur" in err
    assert [line.split(",")[0] for line in lines[1:]] == ["action units"]
    again = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv")
    assert again[1] == lines
    other = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--seed", 5)
    assert other[1][0] != lines[0]  # other faces are the test


def test_other_names_of_columns_radians_and_points(given, probe):
    table, _ = labels()
    random = np.random.default_rng(5)
    points = 32 + table[list(ANGLE_COLUMNS)].to_numpy() @ random.normal(size=(3, 10)) / 10 + 10 * random.normal(size=10)
    renamed = pd.DataFrame({"image": table["face_id"], "who": table["identity"], "split": table["split"]})
    renamed[list(ANGLE_COLUMNS)] = np.deg2rad(table[list(ANGLE_COLUMNS)].to_numpy()) * (1, 1, -1)
    renamed["landmarks5"] = list(points)
    renamed[["left", "top", "right", "bottom"]] = [0, 0, 64, 64]
    renamed.to_parquet(given / "labels.parquet")
    (given / "rival.txt").write_text("\n".join("photos/" + table["face_id"]))
    options = ("--column", "identity=who", "--radians", "--negate", "yaw_deg", "--images", "photos")
    arguments = ("--embeddings", f"mine={given / 'rival.npy'}", "--labels", given / "labels.parquet", *options)
    code, _, err = probe(*arguments, "--out", given / "out")
    assert code == 0, err
    scores = read_json(given / "out/scores.json")["scores"]["regularised"]["mine"]
    assert scores["yaw_mae_deg"]["value"] < 0.25
    assert scores["landmarks5_nme_pct"]["value"] < 2
    found = read_predictions(given / "out/predictions.parquet", "mine", "regularised")
    angles = found[found["task"] == "pose"].set_index("face_id")["target"]
    wanted = table.set_index("face_id")[list(ANGLE_COLUMNS)]
    for name in angles.index[:5]:
        np.testing.assert_allclose(angles[name], wanted.loc[name.removeprefix("photos/")], atol=1e-3)


def test_embeddings_of_other_weights_or_recipes_are_refused(given, probe):
    table, features = labels()
    ids = table["face_id"].tolist()
    folder = ours(given / "theirs", features, ids)
    weights = given / "weights.pt"
    weights.write_bytes(b"other weights")
    said = refused(probe("--embeddings", folder, "--labels", given / "labels.csv", "--weights", weights))
    assert "its embeddings were made with weights abababab" in said
    said = refused(probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--weights", weights))
    assert "rival.npy: its embeddings do not say what weights they were made with" in said
    other = ours(given / "other", features, ids, encoder="other", recipe_hash="ef" * 8)
    both = ("--embeddings", folder, "--embeddings", other, "--labels", given / "labels.csv")
    assert "different values of crop recipe: cdcdcdcdcdcdcdcd and efefefefefefefef; --force" in refused(probe(*both))
    code, lines, _ = probe(*both, "--force")
    assert code == 0
    assert lines[0].split()[-2:] == ["fabnet", "other"]


def test_results_appear_whole_or_not_at_all(given, probe, monkeypatch):
    arguments = ("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--out", given / "out")
    features = np.load(given / "rival.npy")
    features[7, 2] = np.nan
    np.save(given / "rival.npy", features)
    assert "rival.npy, row 7 (face f007): holds nan, which is no finite float32" in refused(probe(*arguments))
    assert sorted(path.name for path in given.iterdir()) == ["labels.csv", "rival.npy", "rival.txt"]
    (given / "out").mkdir()
    (given / "out/mine.txt").write_text("precious")
    assert "exists already" in refused(probe(*arguments))
    assert (given / "out/mine.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(yaw_deg=["left", *t["yaw_deg"][1:]]), "line 2: yaw_deg is 'left', which is no number"),
        (lambda t: t.assign(expression=[*t["expression"][:-1], "bored"]), "line 241: expression is 'bored'"),
        (lambda t: t.assign(split=["test", *t["split"][1:]]), "lines 2 and 3: p00 is in two splits"),
        (lambda t: t.assign(split="train"), "0 faces in split test"),
        (lambda t: t.assign(face_id=["f001", *t["face_id"][1:]]), "lines 2 and 3 are both of f001, but differ in"),
        (lambda t: t.assign(face_id=["", *t["face_id"][1:]]), "line 2: face_id is empty"),
        (lambda t: t.assign(expression="happy"), "faces of train show happy; a probe needs two classes"),
        (lambda t: t.assign(au01=2.0), "line 2: au01 is 2, not 0 to 1"),
        (lambda t: t.assign(yaw_deg=np.nan), "no face can be used; 240 left out: yaw_deg is not given"),
        (lambda t: t.drop(columns="face_id"), "has neither a column face_id nor image"),
        (lambda t: t.assign(landmarks5=";".join("0123456789")), "has landmarks5 without left, top, right, bottom"),
        (lambda t: t.assign(face_id="x" + t["face_id"]), "no labelled face has an embedding"),
        (lambda t: t[:0], "has no rows"),
    ],
)
def test_bad_labels_are_one_line(given, probe, change, said):
    table, _ = labels()
    change(table).to_csv(given / "labels.csv", index=False)
    told = refused(probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv"))
    assert said in told
    assert "labels.csv" in told


def test_a_class_that_no_face_of_a_split_shows_is_told(given, probe):
    table, _ = labels()
    table = table[(table["split"] != "test") | (table["expression"] != "fear")]
    table.to_csv(given / "labels.csv", index=False)
    out = given / "out"
    code, _, err = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--out", out)
    assert code == 0
    assert "no face of test shows fear" in err
    assert read_json(out / "scores.json")["areas"]["expression"]["rival"]["fear"] is None


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"test": ["happy"]}, "expression, AUC ▲: not scored, because all 48 scored faces are of one class, happy"),
        ({"test": ["fear"]}, "expression, AUC ▲: not scored, because all 48 scored faces are of one class, fear"),
        (
            {"test": ["fear", "anger"]},
            "expression, AUC ▲: not scored, because none that the test faces tell apart was learnt",
        ),
    ],
)
def test_a_test_split_without_a_score_says_why(given, probe, shown, said):
    """Fault 15."""
    table, _ = labels()
    classes = {"train": ["happy", "sad"], "validation": ["happy", "sad"], **shown}
    table["expression"] = [classes[split][n % len(classes[split])] for n, split in enumerate(table["split"])]
    table = table[["face_id", "identity", "split", "expression"]]
    table.to_csv(given / "labels.csv", index=False)
    out = given / "out"
    code, lines, _ = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv", "--out", out)
    assert code == 0
    assert lines[:2] == ["48 test faces  constant  rival", said]
    assert said.endswith(read_json(out / "scores.json")["unscored"]["expression_auc"])


def test_a_task_without_a_score_does_not_hide_the_others(given, probe):
    table, _ = labels()
    table[list(UNIT_COLUMNS)] = np.where((table["split"] == "test").to_numpy()[:, None], 1.0, table[list(UNIT_COLUMNS)])
    table.to_csv(given / "labels.csv", index=False)
    code, lines, _ = probe("--embeddings", given / "rival.npy", "--labels", given / "labels.csv")
    assert code == 0
    assert [line.split(",")[0] for line in lines[1:6]] == ["yaw", "pitch", "roll", "pose", "expression"]
    assert lines[6] == "action units, AUC ▲: not scored, because all 48 scored faces agree on every action unit"


@pytest.mark.parametrize(
    ("images", "named"),
    [
        ("/data/photos", "/data/photos/p{}.jpg"),  # fault 10
        ("../shared/photos", "../shared/photos/p{}.jpg"),  # fault 10
        ("./photos/", "photos/p{}.jpg"),
        (".", "p{}.jpg"),
    ],
)
def test_names_as_embed_gives_them_find_labels(tmp_path, probe, images, named):
    random = np.random.default_rng(0)
    count = 40
    angles = random.uniform(-30, 30, count)
    table = pd.DataFrame(
        {"image": [f"p{n}.jpg" for n in range(count)], "yaw_deg": angles, "pitch_deg": 0, "roll_deg": 0}
    )
    table.to_csv(tmp_path / "labels.csv", index=False)
    embedded = {"input": [named.format(n) for n in range(count)], "track": 0, "frame": 0}
    pd.DataFrame({**embedded, "embedding": list(np.stack([angles, angles**2], axis=1))}).to_parquet(
        tmp_path / "faces.parquet"
    )
    source = ("--embeddings", tmp_path / "faces.parquet", "--labels", tmp_path / "labels.csv", "--images", images)
    code, lines, err = probe(*source)
    assert code == 0, err
    assert lines[0].split() == ["10", "test", "faces", "constant", "faces"]  # whichever way the folder is named


def test_wrong_options_are_one_line(given, probe):
    rival, table = given / "rival.npy", given / "labels.csv"
    assert "--negate.0" in refused(probe("--embeddings", rival, "--labels", table, "--negate", "nose"))
    assert "nose: no such column" in refused(probe("--embeddings", rival, "--labels", table, "--column", "nose=x"))
    assert "is called rival, as is" in refused(probe("--embeddings", rival, "--embeddings", rival, "--labels", table))
    assert "as is the constant baseline" in refused(probe("--embeddings", f"constant={rival}", "--labels", table))
    assert "absent.csv: no such file" in refused(probe("--embeddings", rival, "--labels", given / "absent.csv"))
    assert "absent.npy: no such file" in refused(probe("--embeddings", given / "absent.npy", "--labels", table))


def test_the_defaults_are_those_of_the_pipeline():
    params = committed_values()["probe"]
    assert {**PROBE, "shares": params["shares"]} == params
    defaults = {name: each.default for name, each in inspect.signature(command).parameters.items() if name in PROBE}
    assert defaults == {name: PROBE[name] for name in ("seeds", "epochs", "batch_size", "learning_rate")}
    assert inspect.signature(command).parameters["folds_below"].default == PROBE["folds"]["below"]
