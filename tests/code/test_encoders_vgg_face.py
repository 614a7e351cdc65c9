"""The VGG-Face descriptor from every published form of its weights, against an independent network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from vgg_face_files import FILTERS, HIDDEN, SIZE, named, reference, reference_fc7, write_mat

from fabnet.config import EncoderParams, VggFaceParams
from fabnet.encoders.open import open_encoder
from fabnet.encoders.vgg_face import LAYERS, Shape, open_vgg_face
from fabnet.errors import ConfigError, UserError

SHAPE = Shape(FILTERS, HIDDEN, SIZE)
CROPS = np.random.default_rng(3).integers(0, 256, (37, SIZE, SIZE, 3), dtype=np.uint8)

FORMS = {
    "named.pth": lambda network, path: torch.save(named(network), path),
    "parallel.pth": lambda network, path: torch.save(
        {"state_dict": {f"module.{name}": value for name, value in named(network).items()}}, path
    ),
    "legacy.pth": lambda network, path: torch.save(named(network), path, _use_new_zipfile_serialization=False),
    "torch7.pth": lambda network, path: torch.save(named(network, "conv_{}_{}", "fc{}"), path),
    "torchvision.pth": lambda network, path: torch.save(network.state_dict(), path),
    "named.safetensors": lambda network, path: save_file(named(network), path),
    "net.mat": lambda network, path: write_mat(network, path),
    "layers.mat": lambda network, path: write_mat(network, path, wrapped=False),
    "old.mat": lambda network, path: write_mat(network, path, old=True),
}


def opened(path: Path, shape: Shape = SHAPE):
    return open_vgg_face("vgg_face", EncoderParams(source=f"vgg_face:{path}"), shape)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_fc7_of_the_same_network(form, tmp_path):
    network = reference()
    FORMS[form](network, tmp_path / form)
    wanted = reference_fc7(network, CROPS, "BGR" if form == "torch7.pth" else "RGB")
    got = opened(tmp_path / form).embed(CROPS)
    assert got.shape == (37, HIDDEN)
    assert got.dtype == np.float32
    assert (wanted > 0).mean() > 0.2
    assert wanted.std(axis=0).max() > 1
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-3)


def test_colours_matter(tmp_path):
    network = reference()
    assert np.abs(reference_fc7(network, CROPS, "RGB") - reference_fc7(network, CROPS, "BGR")).max() > 1


def test_the_published_network_is_vgg_16():
    shapes = Shape().weights()
    assert list(shapes) == list(LAYERS)
    assert shapes["conv1_1"] == (64, 3, 3, 3)
    assert shapes["conv5_3"] == (512, 512, 3, 3)
    assert shapes["fc6"] == (4096, 25088)
    assert shapes["fc7"] == (4096, 4096)
    # VGG-16 has 138,357,544 parameters with 1,000 classes.
    classes = 4096 * 1000 + 1000
    assert sum(int(np.prod(shape)) + shape[0] for shape in shapes.values()) + classes == 138_357_544


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


BAD = {
    "lacks conv3_2.weight": lambda state: without(state, "conv3_2.weight"),
    "lacks fc7.bias": lambda state: without(state, "fc7.bias"),
    "conv1_1.weight: is 2 x 3 x 5 x 5": lambda state: state | {"conv1_1.weight": torch.zeros(2, 3, 5, 5)},
    "fc6.weight: is 7 x 23": lambda state: state | {"fc6.weight": torch.zeros(7, 23)},
    "fc7.bias: has numbers that are not finite": lambda state: state | {"fc7.bias": torch.full((7,), torch.nan)},
    "conv2_1.bias: is no plain tensor": lambda state: state | {"conv2_1.bias": torch.zeros(3, dtype=torch.int64)},
    "lacks conv1_1.weight": lambda state: {},
}


@pytest.mark.parametrize("problem", BAD)
def test_what_does_not_fit_is_one_clear_line(problem, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(BAD[problem](named(reference())), path)
    with pytest.raises(UserError) as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pth", "w.mat", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"MATLAB 5.0 MAT-file" + bytes(200), b"\x80\x02}q\x00."])
def test_damaged_files_are_one_clear_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        opened(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_in_a_file_never_runs(tmp_path):
    class Harmful:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"conv1_1.weight": Harmful()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="code"):
        opened(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_a_mat_file_of_another_network_is_refused(tmp_path):
    write_mat(reference(), tmp_path / "w.mat")
    with pytest.raises(UserError, match=r"w\.mat: layer conv1_1: is 3 x 3 x 3 x 2, but VGG-16 has 3 x 3 x 3 x 9 there"):
        opened(tmp_path / "w.mat", Shape((9, 3, 4, 5, 6), HIDDEN, SIZE))


def test_the_file_is_the_one_that_params_name(tmp_path):
    torch.save(named(reference()), tmp_path / "w.pth")
    source = f"vgg_face:{tmp_path / 'w.pth'}"
    with pytest.raises(ConfigError, match=r"w\.pth: its weights have the SHA-256 [0-9a-f]{64}, not 0{64}"):
        open_encoder(EncoderParams(source=source, sha256="0" * 64))
    with pytest.raises(UserError, match=r"absent\.pth: no such file"):
        open_encoder(f"vgg_face:{tmp_path / 'absent.pth'}")


def test_a_file_without_its_hash_is_no_legal_params():
    with pytest.raises(ValueError, match="both or neither"):
        VggFaceParams(weights="w.pth", sha256=None)
    assert VggFaceParams(weights=None, sha256=None).weights is None
