"""Encoders of others under the protocol: `fabnet probe --encoder`, and the section `encoders`."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import set_layouts as layouts
import yaml
from commands import run_fabnet
from inference_files import write_model
from test_outside_stages import params_with, stage

from fabnet.attributes.sets import open_set
from fabnet.config import parse_params
from fabnet.encoders.open import open_encoder
from fabnet.errors import ConfigError
from fabnet.files import hash_file, read_json
from fabnet.probing.embed_encoder import embed_encoder, embed_encoders
from fabnet.probing.embeddings import read_embeddings
from fabnet.probing.readings import read_heads
from fabnet.tables import ANGLE_COLUMNS

FAST = ("--folds-below", 0, "--seeds", 1, "--epochs", 2, "--bootstrap", 100)
#: Counts how often it is called, in a file.
MODULE = """
from pathlib import Path
import numpy as np

def grey(images):
    with open("calls", "a") as file:
        file.write(".")
    size = images.shape[1] // 8
    return images.mean(axis=3).reshape(len(images), 8, size, 8, size).mean(axis=(2, 4)).reshape(len(images), 64)

def fails_later(images):
    found = grey(images)
    if len(images) > 4:
        found[5] = np.nan
    return found
"""
#: The name that stages, in processes of their own, import it by too.
NAME = "encoders_of_this_test"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoders")
    faces = layouts.draw(20, 4)
    table = layouts.own_table(faces)
    layouts.write_own(path / "mine", faces, table[["image", "identity", "split", *ANGLE_COLUMNS]])
    (path / f"{NAME}.py").write_text(MODULE)
    write_model(path / "models/fabnet")
    return path


@pytest.fixture
def project(written, monkeypatch):
    monkeypatch.chdir(written)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("calls").unlink(missing_ok=True)
    yield written
    sys.modules.pop(NAME, None)


@pytest.fixture
def probe(monkeypatch, capsys, project):
    def run(*arguments):
        files = ("--labels", "mine/labels.csv", "--images", "mine/pictures")
        return run_fabnet(monkeypatch, capsys, "probe", *files, *arguments, *FAST)

    return run


def called():
    return len(Path("calls").read_text()) if Path("calls").is_file() else 0


def test_encoders_are_compared_and_embed_nothing_the_second_time(probe, tmp_path):
    encoders = (
        "--encoder",
        f"pixels={{source: module:{NAME}:grey, image_size: 32, saw: images}}",
        "--encoder",
        "fabnet:models/fabnet",
        "--kept",
        tmp_path / "kept",
    )
    code, lines, err = probe(*encoders, "--out", tmp_path / "out")
    assert code == 0, err
    assert lines[0].split() == ["16", "test", "faces", "constant", "pixels", "fabnet"]
    assert lines[1].split() == ["learnt", "from", "-", "images", "faces"]
    record = read_json(tmp_path / "out/scores.json")
    assert record["paired"].keys() == {"fabnet"}
    assert record["embeddings"]["pixels"]["saw"] == "images"
    assert record["embeddings"]["pixels"]["weights_sha256"] == hash_file(f"{NAME}.py")
    # Probes of new faces, which only this encoder's embeddings fit.
    assert read_heads(tmp_path / "out/heads/pixels.npz").meta["weights_sha256"] == hash_file(f"{NAME}.py")
    folder = Path(record["embeddings"]["pixels"]["path"])
    ids, array, _ = read_embeddings(folder)
    assert ids[0] == "face000.png"
    crop = layouts.draw(20, 4).images[0]
    assert array.shape == (80, 64)
    assert crop.mean() == pytest.approx(array[0].mean(), abs=2)  # the whole picture, resized
    calls = called()
    assert calls > 1
    code, again, err = probe(*encoders, "--out", tmp_path / "again")
    assert code == 0, err
    assert (again[:-1], called()) == (lines[:-1], calls)
    assert any("pixels@labels: embedded already" in line for line in err)


def test_faces_that_have_changed_are_embedded_again(project, tmp_path):
    params = params_with({})
    labelled = open_set("mine", parse_params(params).labelled_set("mine"))
    encoder = open_encoder(f"{{source: module:{NAME}:grey, image_size: 16}}")
    first = embed_encoder(labelled, encoder, 64, tmp_path)
    assert embed_encoder(labelled, encoder, 64, tmp_path) == first
    os.utime("mine/pictures/face003.png", (1, 1))
    assert embed_encoder(labelled, encoder, 64, tmp_path) != first
    other = open_encoder(f"{{source: module:{NAME}:grey, image_size: 24}}")
    assert embed_encoder(labelled, other, 64, tmp_path) != embed_encoder(labelled, encoder, 64, tmp_path)


def test_given_embeddings_and_encoders_are_one_table(probe, tmp_path):
    faces = layouts.draw(20, 4)
    np.save(tmp_path / "knows.npy", faces.angles.astype(np.float32))
    names = layouts.own_table(faces)["image"]
    (tmp_path / "knows.txt").write_text("\n".join(f"mine/pictures/{name}" for name in names))  # as `fabnet embed` does
    source = f"module:{NAME}:grey"
    code, lines, err = probe("--encoder", source, "--embeddings", tmp_path / "knows.npy", "--kept", tmp_path / "kept")
    assert code == 0, err
    assert lines[0].split()[3:] == ["constant", "knows", "grey"]
    assert not any("left out" in line or "not used" in line for line in err)
    assert any(line.startswith("minus knows") for line in lines)


def test_what_was_embedded_is_kept_when_a_later_encoder_fails(probe, tmp_path):
    good, bad = (f"{{source: module:{NAME}:{function}, image_size: 16}}" for function in ("grey", "fails_later"))
    code, lines, err = probe(
        "--encoder", good, "--encoder", bad, "--kept", tmp_path / "kept", "--out", tmp_path / "out"
    )
    assert (code, lines) == (1, [])
    said = f"error: module:{NAME}:fails_later: the embedding of face face005.png is not finite; check its weights; "
    assert err[-1] == f"{said}the embeddings of grey are kept in {tmp_path / 'kept'}"
    assert not (tmp_path / "out").exists()
    calls = called()
    assert probe("--encoder", good, "--kept", tmp_path / "kept")[0] == 0
    assert called() == calls


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --embeddings, --encoder, or both"),
        (("--encoder", "resnet18"), "--encoder resnet18: the source begins with none of timm:"),
        (("--encoder", "constant=fabnet:models/fabnet"), "is called constant, as is the constant baseline; say"),
        (("--encoder", "a b=fabnet:models/fabnet"), "'a b' cannot name an encoder; say --encoder NAME=fabnet:models"),
        (("--encoder", "onnx:none.onnx"), "onnx:none.onnx: none.onnx: no such file"),
        (("--encoder", "fabnet:models/fabnet", "--images", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_what_is_refused_is_one_line(probe, arguments, said):
    code, _, err = probe(*arguments)
    assert code != 0
    assert said in err[-1]
    assert not any("Traceback" in line for line in err)


def test_encoders_of_params_are_embedded_by_the_stage(project):
    params = params_with({})
    params["train"] |= {"variants": {"fabnet": {}}, "finetuned": {}}
    params["report"]["reference"] = "fabnet"
    params["encoders"] = {"pixels": {"source": f"module:{NAME}:grey", "image_size": 16, "saw": "images"}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    done = stage(project, "embed.py")
    assert done.returncode == 0, done.stderr
    ids, array, meta = read_embeddings(Path("embeddings/mine/trained/pixels"))
    assert (len(ids), array.shape) == (80, (80, 64))
    assert (meta["encoder"], meta["set"], meta["saw"]) == ("pixels", "mine", "images")
    assert meta["weights_sha256"] == hash_file(f"{NAME}.py")
    calls = called()
    # What an encoder is called, and what it is said to have seen, costs no second embedding.
    params["encoders"] = {"thumbs": params["encoders"]["pixels"] | {"saw": "unknown"}}
    chosen = parse_params(params)
    labelled = open_set("mine", chosen.labelled_set("mine"))
    embed_encoders(labelled, chosen.encoders, 256, Path("embeddings/mine/trained"))
    assert read_embeddings(Path("embeddings/mine/trained/thumbs"))[2]["saw"] == "unknown"
    assert called() == calls


@pytest.mark.parametrize(
    ("encoders", "said"),
    [
        ({"hog": {"source": "timm:x"}}, "encoders.hog: is the name of a baseline; choose another one"),
        ({"fabnet": {"source": "timm:x"}}, "encoders.fabnet: is the name of a trained variant; choose another one"),
        ({"rival": {"source": "timm:x"}}, "sets.mine.embeddings.rival: is the name of one of `encoders`; choose"),
        ({"a": {"source": "onnx:x.onnx"}}, "encoders.a.sha256: is missing; the pipeline sees x.onnx change by it"),
        ({"a": {"source": "timm:x", "weights": "w.pth"}}, "encoders.a.sha256: is missing; the pipeline sees w.pth"),
        ({"a": {"source": "onnx:x.onnx", "image_size": 4}}, "encoders.a.image_size: Input should be greater than"),
        ({"A": {"source": "timm:x"}}, "encoders.A: "),
        ({"a": {"saw": "faces"}}, "encoders.a.source: is missing; add it (text, like"),
    ],
)
def test_names_and_options_that_are_refused(encoders, said):
    params = params_with({"rival": "x.npy"})
    with pytest.raises(ConfigError) as error:
        parse_params({**params, "encoders": encoders})
    assert str(error.value).startswith(f"params: {said}")
