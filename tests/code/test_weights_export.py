"""Exported weights against the model they came from: safetensors to the bit and back, ONNX by another runtime."""

import builtins
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from inference_files import write_model, write_random_heads
from released_files import old_state_dict, reference_network
from safetensors import safe_open

from fabnet import __version__
from fabnet.errors import UserError
from fabnet.files import hash_file, read_json, write_json
from fabnet.inference.weights import Choices, export_onnx, export_safetensors, import_weights
from fabnet.model import load
from fabnet.networks.build import build, load_model
from fabnet.networks.coordinates import in_coordinates

SIZE = 32


@pytest.fixture
def model(tmp_path):
    """As the stage `train` writes one, whose weights are a plain dict."""
    directory = write_model(tmp_path / "models/fabnet", recrop="authors")
    save(directory, dict(load_model(directory)[0].state_dict()))
    return directory


def save(directory: Path, state: dict[str, torch.Tensor], **changes: object) -> None:
    torch.save(state, directory / "best.pt")
    card = read_json(directory / "model.json") | {"weights_sha256": hash_file(directory / "best.pt"), **changes}
    write_json(directory / "model.json", card)


def frames(count: int, size: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count)) * 2 - 1


def in_movement(model):
    """The same network with embeddings in other coordinates, in place of what is in the folder."""
    changed = in_coordinates(load_model(model)[0], 0.1 * torch.randn(16, 16) + torch.eye(16), torch.randn(16))
    save(model, dict(changed.state_dict()), **changed.conventions.card())


def test_safetensors_hold_every_weight_and_what_one_must_know(model, tmp_path):
    export_safetensors(model, tmp_path / "f.safetensors")
    network, card = load_model(model)
    with safe_open(tmp_path / "f.safetensors", framework="np") as file:
        expected = network.state_dict()
        assert set(file.keys()) == set(expected)
        assert all(np.array_equal(file.get_tensor(name), expected[name].numpy()) for name in expected)
        said = file.metadata()
    assert said["fabnet.weights_sha256"] == hash_file(model / "best.pt")
    assert said["fabnet.recipe_hash"] == card["recipe"]["hash"]
    assert (said["fabnet.image_size"], said["fabnet.embedding_dim"]) == ("32", "16")
    assert said["fabnet.version"] == __version__
    assert "RGB, value / 127.5 - 1" in said["fabnet.input"]
    assert json.loads(said["fabnet.model"]) == card


@pytest.mark.parametrize("kind", ["trained", "autoencoder", "released", "movement"])
def test_a_round_trip_is_equal_to_the_bit(model, tmp_path, kind):
    """best.pt is the same file, model.json says the same of the network, and probes of the model read the copy."""
    if kind == "released":
        torch.save(old_state_dict(reference_network(size=SIZE, filters=4, dimension=16)), tmp_path / "r.pth")
        model = tmp_path / "released"
        import_weights(tmp_path / "r.pth", model, Choices(align_corners=False))
    elif kind == "autoencoder":
        save(model, dict(build("autoencoder", SIZE, 4, 16).state_dict()), objective="autoencoder", sources=1)
    elif kind == "movement":
        in_movement(model)
    write_random_heads(tmp_path / "heads.npz", model)
    export_safetensors(model, tmp_path / "f.safetensors")
    copy = tmp_path / "copy"
    import_weights(tmp_path / "f.safetensors", copy)
    own, theirs = load_model(copy)[0].state_dict(), load_model(model)[0].state_dict()
    assert list(own) == list(theirs)
    assert all(torch.equal(own[name], theirs[name]) for name in theirs)
    before, after = read_json(model / "model.json"), read_json(copy / "model.json")
    assert after.pop("imported") == {"file": "f.safetensors", "sha256": hash_file(tmp_path / "f.safetensors")}
    for key in ("variant", "imported"):
        before.pop(key, None)
        after.pop(key, None)
    if kind == "released":
        assert before["conventions"] == {"align_corners": False, "unit_input": True}
    assert after == before
    assert load(copy, tmp_path / "heads.npz").probes is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fabnet.model": "{"}, "its description of the model is damaged: JSONDecodeError"),
        ({"fabnet.model": "{}"}, "its description of the model is damaged: KeyError"),
        ({"fabnet.model": "[1]"}, "its description of the model is damaged"),
        ({"base_filters": 8}, r"encoder\.layers\.0\.bias: not as the description of the model in this file"),
        ({"objective": "jigsaw"}, "objective jigsaw is unknown to fabnet"),
        ({"conventions": {"gamma": True}}, "its description of the model is damaged: ValueError"),
    ],
)
def test_an_exported_file_with_another_description(model, tmp_path, change, message):
    from safetensors.torch import load_file, save_file

    said = export_safetensors(model, tmp_path / "f.safetensors")
    if "fabnet.model" not in change:
        change = {"fabnet.model": json.dumps(json.loads(said["fabnet.model"]) | change)}
    save_file(load_file(tmp_path / "f.safetensors"), tmp_path / "g.safetensors", said | change)
    with pytest.raises(UserError, match=rf"g\.safetensors: {message}"):
        import_weights(tmp_path / "g.safetensors", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_options_about_an_exported_file_are_refused(model, tmp_path):
    export_safetensors(model, tmp_path / "f.safetensors")
    with pytest.raises(UserError, match="was exported by fabnet and says what it is; leave out"):
        import_weights(tmp_path / "f.safetensors", tmp_path / "copy", Choices())


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("count", [1, 5])
def test_onnxruntime_gives_the_embeddings_of_torch(model, tmp_path, count, moved):
    if moved:
        in_movement(model)
    export_onnx(model, tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "e.onnx"), providers=["CPUExecutionProvider"])
    batch = frames(count)
    (made,) = session.run(["embeddings"], {"frames": batch.numpy()})
    with torch.no_grad():
        expected = load_model(model)[0].encoder(batch).numpy()
    assert made.shape == (count, 16)
    assert np.abs(made - expected).max() < 1e-4
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["fabnet.weights_sha256"] == hash_file(model / "best.pt")
    assert "value / 127.5 - 1" in onnx.load(tmp_path / "e.onnx").doc_string


def test_onnx_of_released_weights_at_the_size_of_the_paper(tmp_path):
    """256 px, 32 filters, 256 dimensions: pixels in [0, 1] inside, the one input of all exported encoders outside."""
    reference = reference_network()
    torch.save(old_state_dict(reference), tmp_path / "r.pth")
    import_weights(tmp_path / "r.pth", tmp_path / "model")
    export_onnx(tmp_path / "model", tmp_path / "e.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "e.onnx"), providers=["CPUExecutionProvider"])
    batch = frames(2, 256)
    (made,) = session.run(None, {"frames": batch.numpy()})
    with torch.no_grad():
        expected = reference.encoder((batch + 1) / 2).flatten(1).numpy()
    assert expected.std() > 0.1
    assert np.abs(made - expected).max() < 1e-4


@pytest.mark.parametrize("export", [export_safetensors, export_onnx])
def test_what_is_no_model_is_not_exported(model, tmp_path, export):
    with pytest.raises(UserError, match=r"model\.json: no such file"):
        export(tmp_path, tmp_path / "out.file")
    (model / "best.pt").write_bytes(b"other")
    with pytest.raises(UserError, match="has SHA-256"):
        export(model, tmp_path / "out.file")
    assert not (tmp_path / "out.file").exists()


@pytest.mark.parametrize("export", [export_safetensors, export_onnx])
def test_a_failed_export_leaves_the_file_that_was_there(model, tmp_path, export, monkeypatch):
    out = tmp_path / "folder/out.onnx"
    out.parent.mkdir()
    out.write_text("before")

    def broken(*arguments: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", broken)
    monkeypatch.setattr("onnx.save", broken)
    with pytest.raises(OSError, match="no space"):
        export(model, out)
    assert [path.read_text() for path in out.parent.iterdir()] == ["before"]


def test_without_the_package_onnx(model, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "onnx":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"--format onnx: wants the package onnx: pip install 'fabnet\[export\]'"):
        export_onnx(model, tmp_path / "e.onnx")
