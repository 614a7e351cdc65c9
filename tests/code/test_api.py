"""The Python API: `fabnet.load` and what the model it returns does, documented by examples that run."""

import doctest
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_fabnet
from inference_files import DIMENSION, SIZE, write_colours, write_model, write_random_heads, write_talk

import fabnet
from fabnet import model as module
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.inference.embed import embed
from fabnet.inference.weights import export_onnx, export_safetensors
from fabnet.networks.build import load_model
from fabnet.networks.encoder import embed_images

ROOT = Path(__file__).parents[2]
HEADS = Path("probes/synthetic/heads/fabnet.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The files that the examples name."""
    folder = tmp_path_factory.mktemp("project")
    write_model(folder / "models/fabnet")
    (folder / HEADS).parent.mkdir(parents=True)
    write_random_heads(folder / HEADS, folder / "models/fabnet")
    write_talk(folder / "talk.mp4")
    export_safetensors(folder / "models/fabnet", folder / "fabnet.safetensors")
    export_onnx(folder / "models/fabnet", folder / "encoder.onnx")
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_importing_the_package_is_light():
    code = "import sys, fabnet; print(fabnet.__version__, sorted({'torch', 'numpy', 'pandas'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{fabnet.__version__} []"
    assert not hasattr(fabnet, "save")


@pytest.mark.usefixtures("here")
def test_examples_of_the_page_and_of_docstrings_run():
    page = doctest.testfile(str(ROOT / "docs/api.md"), module_relative=False)
    assert (page.failed, page.attempted > 10) == (0, True)
    docstrings = doctest.testmod(module)
    assert (docstrings.failed, docstrings.attempted > 3) == (0, True)


@pytest.mark.usefixtures("here")
def test_a_prediction_is_the_table_of_fabnet_embed(tmp_path):
    model = fabnet.load("models/fabnet", HEADS)
    embed(["talk.mp4"], model, tmp_path / "talk.parquet", model.face_params(workers=1))
    expected = pd.read_parquet(tmp_path / "talk.parquet")
    found = model.predict("talk.mp4")
    assert len(found) == 3
    pd.testing.assert_frame_equal(found.drop(columns="embedding"), expected.drop(columns="embedding"), rtol=1e-5)
    np.testing.assert_allclose(np.stack(found["embedding"]), np.stack(expected["embedding"]), atol=1e-5)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("source", ["models/fabnet", "fabnet.safetensors", "encoder.onnx"])
def test_a_folder_and_its_exports_are_the_same_model(source):
    if source.endswith(".onnx") and find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    model = fabnet.load(source, HEADS, device="cpu")
    assert (model.name, model.objective, model.size, model.dimension) == ("fabnet", "fabnet", SIZE, DIMENSION)
    crops = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    (expected,) = embed_images(load_model("models/fabnet")[0].encoder, [crops])
    np.testing.assert_allclose(model.embed(crops, batch_size=2), expected, atol=1e-5)
    sent = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(sent.embed(crops), model.embed(crops))
    assert model.embed(crops[:0]).shape == (0, DIMENSION)
    if source.endswith(".onnx"):
        with pytest.raises(UserError, match=r"encoder\.onnx: is an encoder alone, which has no flow"):
            model.warping_network()
    else:
        assert model.warping_network().encoder.image_size == SIZE


@pytest.mark.usefixtures("here")
def test_landmarks_are_pixels_of_the_crop_or_of_the_frame():
    model = fabnet.load("models/fabnet", HEADS)
    embeddings = model.embed(np.zeros((2, SIZE, SIZE, 3), np.uint8))
    region = [10.0, 20.0, 10.0 + 2 * SIZE, 20.0 + 2 * SIZE]
    whole, part = model.read(embeddings), model.read(embeddings, np.array([region, region]))
    np.testing.assert_allclose(part["landmarks5"], [10, 20] + 2 * whole["landmarks5"], rtol=1e-5)
    np.testing.assert_array_equal(part["pose"], whole["pose"])
    np.testing.assert_allclose(whole["expression"].sum(axis=1), 1, rtol=1e-5)


def test_arrays_of_another_form_are_refused(here):
    model = fabnet.load(here / "models/fabnet")
    with pytest.raises(UserError, match=r"crops must be uint8 \(N, 32, 32, 3\), not float64 \(1, 32, 32, 3\)"):
        model.embed(np.zeros((1, 32, 32, 3)))
    with pytest.raises(UserError, match=r"crops must be .* not uint8 \(1, 64, 64, 3\)"):
        model.embed(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(UserError, match="was loaded without probes"):
        model.read(np.zeros((1, DIMENSION), np.float32))
    with pytest.raises(UserError, match=r"embeddings must be \(N, 16\), not \(1, 3\)"):
        fabnet.load(here / "models/fabnet", here / HEADS).read(np.zeros((1, 3)))


def refusal(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        fabnet.load(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_what_is_no_model_is_refused(here, tmp_path):
    assert "no such file; a model is a folder as `train` writes it" in refusal(here / "probes")
    assert refusal(tmp_path / "none.onnx").endswith("none.onnx: no such file")
    (tmp_path / "text.onnx").write_text("hello")
    assert "text.onnx: not an ONNX file, or a damaged one" in refusal(tmp_path / "text.onnx")
    (tmp_path / "text.safetensors").write_text("hello")
    assert "not a safetensors file, or a damaged one" in refusal(tmp_path / "text.safetensors")
    from safetensors.torch import save_file

    save_file(load_model(here / "models/fabnet")[0].state_dict(), tmp_path / "others.safetensors")
    assert "was not exported by fabnet; `fabnet weights import`" in refusal(tmp_path / "others.safetensors")
    assert refusal(here / "models/fabnet", here / "none.npz").startswith(f"{here / 'none.npz'}: no such file of probes")


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"objective": "jigsaw"}, "objective jigsaw is unknown"), ({"format": 2}, "key format is unknown")],
)
def test_a_model_of_a_newer_version_is_refused(tmp_path, changes, what):
    path = write_model(tmp_path / "new") / "model.json"
    write_json(path, read_json(path) | changes)
    line = refusal(tmp_path / "new")
    assert line.startswith(f"{path}: {what} to fabnet {fabnet.__version__}; if a newer one trained this model")


@pytest.mark.parametrize("source", ["models/fabnet", "fabnet.safetensors", "encoder.onnx"])
def test_probes_of_other_weights_are_refused(here, tmp_path, source):
    write_random_heads(tmp_path / "other.npz", write_model(tmp_path / "other", seed=1))
    line = refusal(here / source, tmp_path / "other.npz")
    assert "other.npz: the embeddings of its probes were made with weights" in line
    assert line.endswith("take this model's probes, or probe again")


def test_onnx_without_its_runtime_names_the_extra(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'fabnet[export]'" in refusal(here / "encoder.onnx")


def test_a_clip_that_is_none_gives_the_line_of_the_command(here, tmp_path, monkeypatch, capsys):
    bad = tmp_path / "text.mp4"
    bad.write_text("no video")
    with pytest.raises(UserError) as caught:
        fabnet.load("models/fabnet").predict(bad)
    code, _, err = run_fabnet(
        monkeypatch, capsys, "embed", bad, "--model", "models/fabnet", "--out", tmp_path / "a.parquet", "--workers", 1
    )
    assert (code, err[-1]) == (1, f"error: {caught.value}")
    assert "text.mp4: unreadable" in str(caught.value)
    with pytest.raises(UserError, match="is a folder; name one video or image"):
        fabnet.load("models/fabnet").predict(here / "models")


def test_long_clips_wait_on_disk(here, tmp_path, monkeypatch):
    """Crops beyond the limit in memory come back as they were, as often as they are asked for."""
    from fabnet.video import frame_buffer

    model = fabnet.load(here / "models/fabnet")
    clip = write_colours(tmp_path / "clip.mp4", 40)
    whole = [(face.frame, face.image.tobytes()) for face in model.faces(clip)]
    monkeypatch.setattr(frame_buffer, "_JPEG_BYTES", 64)
    monkeypatch.setattr(frame_buffer, "_ROW_BYTES", 64)
    faces = model.faces(clip)
    assert (len(faces), faces.tracks) == (8, {0: 8})
    for _ in range(2):
        assert [(face.frame, face.image.tobytes()) for face in faces] == whole


def test_weights_that_were_replaced_since_are_not_taken_for_those_loaded(tmp_path):
    write_model(tmp_path / "models/fabnet")
    model = pickle.loads(pickle.dumps(fabnet.load(tmp_path / "models/fabnet")))
    module._network.cache_clear()  # as in another process
    card = read_json(tmp_path / "models/fabnet/model.json")
    write_json(tmp_path / "models/fabnet/model.json", card | {"weights_sha256": "0" * 64})
    with pytest.raises(UserError, match=r"models/fabnet: holds other weights than when it was loaded; load it again"):
        model.embed(np.zeros((1, SIZE, SIZE, 3), np.uint8))


def test_probes_that_were_replaced_since_are_not_taken_for_those_loaded(tmp_path):
    write_model(tmp_path / "models/fabnet")
    write_random_heads(tmp_path / "heads.npz", tmp_path / "models/fabnet")
    model = fabnet.load(tmp_path / "models/fabnet", tmp_path / "heads.npz")
    module._probes.cache_clear()
    with open(tmp_path / "heads.npz", "ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"heads.npz: holds other probes than when it was loaded; load it again"):
        model.read(np.zeros((1, DIMENSION), np.float32))


@pytest.mark.usefixtures("here")
def test_arguments_are_checked():
    with pytest.raises(UserError, match="device gpu: must be one of auto, cpu, cuda"):
        fabnet.load("models/fabnet", device="gpu")
    model = fabnet.load("models/fabnet")
    with pytest.raises(UserError, match="faces detected: must be one of cropped, detect"):
        model.face_params("detected")
    assert model in {model}
    crops = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.embed(crops[:, :, ::-1]), model.embed(crops[:, :, ::-1].copy()))
