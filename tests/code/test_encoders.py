"""Encoders of anybody: ONNX files, functions, models of ours, and what is refused of them."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from inference_files import write_model
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fabnet
from fabnet.config import EncoderParams, read_encoder
from fabnet.encoders.encoder import Encoder, Preprocessing, require_sound
from fabnet.encoders.open import open_encoder
from fabnet.errors import ConfigError, UserError
from fabnet.files import hash_file
from fabnet.inference.weights import export_onnx

SIDE, DIMENSION = 8, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
WEIGHTS = np.random.default_rng(1).normal(size=(3 * SIDE * SIDE, DIMENSION)).astype(np.float32)


def write_onnx(path, shape=("N", 3, SIDE, SIDE), kind=TensorProto.FLOAT, metadata=None, nodes=None, outputs=1):
    """Flattened pixels times WEIGHTS, in float32."""
    flat = ["x"]
    made = []
    if kind != TensorProto.FLOAT:
        made.append(helper.make_node("Cast", ["x"], ["cast"], to=TensorProto.FLOAT))
        flat = ["cast"]
    made += nodes or [
        helper.make_node("Flatten", flat, ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", kind, shape)
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ["y", "flat"][:outputs]]
    graph = helper.make_graph(made, "g", [given], told, [numpy_helper.from_array(WEIGHTS, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def declared(path, **options):
    return EncoderParams.model_validate({"source": f"onnx:{path}", **options})


def reference(images, mean=MEAN, std=STD, channels="RGB", layout="NCHW"):
    x = images[..., ::-1] if channels == "BGR" else images
    x = (x / 255 - np.array(mean)) / np.array(std)
    return (x if layout == "NHWC" else x.transpose(0, 3, 1, 2)).reshape(len(images), -1) @ WEIGHTS


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_images_reach_an_onnx_file_as_declared(tmp_path, channels, layout, batch):
    shape = (batch, 3, SIDE, SIDE) if layout == "NCHW" else (batch, SIDE, SIDE, 3)
    path = write_onnx(tmp_path / "e.onnx", shape)
    encoder = open_encoder(declared(path, mean=MEAN, std=STD, channels=channels, saw="faces with labels"), "mine")
    got = encoder.embed(IMAGES)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference(IMAGES, channels=channels, layout=layout), rtol=1e-4, atol=1e-4)
    assert (encoder.name, encoder.saw, encoder.size) == ("mine", "faces with labels", SIDE)
    assert encoder.weights_sha256 == hash_file(path)
    assert require_sound(encoder, IMAGES[:4]) == DIMENSION


@pytest.mark.parametrize("mean", ["[0.1, 0.2, 0.3]", "0.1, 0.2, 0.3"])
def test_what_is_not_declared_stands_in_the_metadata(tmp_path, mean):
    told = {"size": "8", "mean": mean, "std": "[0.5, 0.6, 0.7]", "channels": "BGR", "layout": "NHWC", "saw": "images"}
    path = write_onnx(tmp_path / "e.onnx", ("N", "H", "W", 3), metadata=told)
    encoder = open_encoder(f"onnx:{path}")
    np.testing.assert_allclose(encoder.embed(IMAGES), reference(IMAGES, MEAN, STD, "BGR", "NHWC"), rtol=1e-4, atol=1e-4)
    assert (encoder.name, encoder.saw) == ("e", "images")
    with pytest.raises(UserError, match=r"e\.onnx: channels is declared as RGB, but the file says BGR"):
        open_encoder(declared(path, channels="RGB"))


def test_a_file_that_takes_bytes_gets_the_pixels(tmp_path):
    path = write_onnx(tmp_path / "e.onnx", ("N", SIDE, SIDE, 3), TensorProto.UINT8)
    got = open_encoder(f"onnx:{path}").embed(IMAGES)
    np.testing.assert_allclose(got, IMAGES.reshape(6, -1).astype(np.float32) @ WEIGHTS, rtol=1e-4)


def test_images_of_another_side_are_resized_by_the_named_interpolation(tmp_path):
    path = write_onnx(tmp_path / "e.onnx")
    larger = np.random.default_rng(2).integers(0, 256, (2, 21, 21, 3), dtype=np.uint8)
    encoder = open_encoder(declared(path, mean=MEAN, std=STD, interpolation="bicubic"))
    wanted = np.stack([np.asarray(Image.fromarray(each).resize((SIDE, SIDE), Image.BICUBIC)) for each in larger])
    np.testing.assert_allclose(encoder.embed(larger), reference(wanted), rtol=1e-4, atol=1e-4)


def test_the_output_is_chosen_where_there_are_several(tmp_path):
    path = write_onnx(tmp_path / "e.onnx", outputs=2)
    colours = {"mean": MEAN, "std": STD}
    with pytest.raises(UserError, match="has the outputs y, flat; say which by `output`"):
        open_encoder(declared(path, **colours))
    with pytest.raises(UserError, match="has no output z; there are y, flat"):
        open_encoder(declared(path, output="z", **colours))
    assert open_encoder(declared(path, output="flat", **colours)).embed(IMAGES).shape == (6, 3 * SIDE * SIDE)


COLOURS = {"mean": MEAN, "std": STD}
FLAT = [helper.make_node("Flatten", ["x"], ["y"])]
REFUSED = {
    "layout is declared as NHWC, but its input is N x 3 x 8 x 8": ({}, {**COLOURS, "layout": "NHWC"}),
    "image_size is 16, but its input is N x 3 x 8 x 8": ({}, {**COLOURS, "image_size": 16}),
    "does not say what colours it expects; declare mean": ({}, {}),
    "does not say what colours it expects; declare std": ({}, {"mean": MEAN}),
    "does not say how large its images are; declare image_size": ({"shape": ("N", 3, "H", "W")}, COLOURS),
    "takes N x 4 x 8 x 8, which are no images of three colours": ({"shape": ("N", 4, 8, 8), "nodes": FLAT}, COLOURS),
    "faces are square": ({"shape": ("N", 3, 8, 9), "nodes": FLAT}, COLOURS),
    "an encoder takes one input, images": ({"shape": ("N", 192)}, COLOURS),
    "takes pixels as they are (uint8)": ({"kind": TensorProto.UINT8}, COLOURS),
    "its metadata: size: Input should be a valid integer": ({"metadata": {"size": "eight"}}, COLOURS),
    "its metadata: std.0: Input should be greater than 0": ({"metadata": {"std": "0, 1, 1"}}, {"mean": MEAN}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_files_and_declarations_that_are_refused(tmp_path, said):
    written, options = REFUSED[said]
    path = write_onnx(tmp_path / "e.onnx", **written)
    with pytest.raises(UserError) as caught:
        open_encoder(declared(path, **options))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_several_parts_or_damaged_is_refused(tmp_path):
    path = write_onnx(tmp_path / "e.onnx")
    model = onnx.load(path)
    onnx.save(model, tmp_path / "parts.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(UserError, match=r"parts\.onnx: keeps weights in another file, weights\.bin"):
        open_encoder(declared(tmp_path / "parts.onnx", **COLOURS))
    (tmp_path / "bad.onnx").write_bytes(path.read_bytes()[:200])
    for name, said in (("bad.onnx", "not an ONNX file, or a damaged one"), ("none.onnx", "no such file")):
        with pytest.raises(UserError, match=said):
            open_encoder(declared(tmp_path / name, **COLOURS))


def test_another_file_than_its_hash_names_is_refused(tmp_path):
    path = write_onnx(tmp_path / "e.onnx")
    assert open_encoder(declared(path, sha256=hash_file(path), **COLOURS)).embed(IMAGES[:1]).shape == (1, DIMENSION)
    with pytest.raises(ConfigError, match=r"its weights have the SHA-256 [0-9a-f]{64}, not 0{64}"):
        open_encoder(declared(path, sha256="0" * 64, **COLOURS))


def test_an_export_of_a_model_of_ours_needs_no_declaration_and_embeds_as_the_model(tmp_path):
    folder = write_model(tmp_path / "ours")
    model = fabnet.load(folder)
    images = np.random.default_rng(4).integers(0, 256, (3, model.size, model.size, 3), dtype=np.uint8)
    export_onnx(folder, tmp_path / "ours.onnx")
    for source in (f"fabnet:{folder}", f"onnx:{tmp_path / 'ours.onnx'}"):
        encoder = open_encoder(source)
        np.testing.assert_allclose(encoder.embed(images), model.embed(images), rtol=1e-3, atol=1e-4)
        assert (encoder.name, encoder.saw, encoder.size) == ("ours", "faces", model.size)
    assert open_encoder(f"fabnet:{folder}").weights_sha256 == model.weights_sha256


FUNCTIONS = """
import numpy as np

calls = 0

def blocks(images):
    return images.reshape(len(images), 4, 4, -1).mean(axis=3).reshape(len(images), 16)[:, :7].astype(np.float64)

def constant(images):
    return np.ones((len(images), 3), np.float32)

def of_batch(images):
    return blocks(images) - blocks(images).mean(axis=0)

def changing(images):
    global calls
    calls += 1
    return blocks(images) + 10 * calls

def infinite(images):
    found = blocks(images)
    found[-1, 0] = np.inf
    return found

def lonely(images):
    return blocks(images)[:1]

def images_again(images):
    return images

def short(images):
    return blocks(images)[:, : len(images)]

def fails(images):
    raise RuntimeError("no kernel\\nfor this device")

number = 3
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    name = f"functions_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def test_a_function_gets_uint8_rgb_of_its_side(functions):
    encoder = open_encoder(f"mine={{source: module:{functions}:blocks, image_size: 12, saw: faces}}")
    got = encoder.embed(IMAGES)
    assert got.dtype == np.float32
    wanted = np.stack([np.asarray(Image.fromarray(each).resize((12, 12), Image.BILINEAR)) for each in IMAGES])
    np.testing.assert_allclose(got, wanted.reshape(6, 16, 27).mean(axis=2)[:, :7], rtol=1e-6)
    assert encoder.weights_sha256 == hash_file(f"{functions}.py")
    Path("weights.bin").write_bytes(b"1")
    other = open_encoder(f"{{source: module:{functions}:blocks, weights: weights.bin}}")
    assert (other.name, other.weights_sha256, other.size) == ("blocks", hash_file("weights.bin"), 224)


UNSOUND = {
    "constant": "gives different images the same embedding",
    "of_batch": "gives an image another embedding by itself than among others",
    "changing": "gives other embeddings for the same images the second time",
    "infinite": "the embedding of image 3 is not finite",
    "lonely": "gives float64 1 x 7 for 4 images; embeddings are floating-point numbers, 4 x D",
    "images_again": "gives uint8 4 x 8 x 8 x 3 for 4 images",
    "fails": "fails on (4, 8, 8, 3) images: no kernel for this device",
}


@pytest.mark.parametrize("function", UNSOUND)
def test_an_encoder_that_is_not_sound_is_refused_in_a_line(functions, function):
    encoder = open_encoder(f"{{source: module:{functions}:{function}, image_size: 8}}")
    with pytest.raises(UserError) as caught:
        require_sound(encoder, IMAGES[:4])
    assert str(caught.value).startswith(f"module:{functions}:{function}: {UNSOUND[function]}")
    assert "\n" not in str(caught.value)


def test_half_precision_is_no_unsound_encoder():
    """Rounding to float16 differs with the company by no more than what is let pass."""
    noise = np.random.default_rng(0)

    def forward(images):
        exact = images.reshape(len(images), -1)[:, :64].astype(np.float32)
        return (exact * (1 + noise.normal(0, 5e-4, exact.shape))).astype(np.float16)

    encoder = Encoder("half", "module:a:b", "unknown", "", SIDE, "bilinear", {}, forward)
    assert require_sound(encoder, IMAGES[:4]) == 64


def test_lengths_that_change_with_the_batch_are_refused(functions):
    encoder = open_encoder(f"{{source: module:{functions}:short, image_size: 448}}")  # four of these go at a time
    with pytest.raises(UserError, match="gives embeddings of 2 and of 4 numbers"):
        encoder.embed(IMAGES)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("module:{0}:absent", "{0} has no function absent"),
        ("module:{0}:number", "{0} has no function number"),
        ("module:nowhere.at_all:f", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("module:broken:f", "cannot be imported: SyntaxError: "),
        ("{{source: module:{0}:blocks, weights: none.bin}}", "none.bin: no such file"),
        ("fabnet:nowhere", "nowhere/model.json: no such file"),
        ("vgg_face:none.mat", "none.mat: no such file"),
        ("timm:resnet18", "needs timm, which is not installed: pip install 'fabnet[encoders]'"),
        ("hf:some/vit", "needs transformers, which is not installed: pip install 'fabnet[encoders]'"),
    ],
)
def test_what_cannot_be_opened_is_one_line(functions, monkeypatch, source, said):
    Path("broken.py").write_text("def f(:")
    for package in ("timm", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as caught:
        open_encoder(source.format(functions))
    assert said.format(functions) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "source"),
    [
        ("timm:vit_small.dino", None, "timm:vit_small.dino"),
        ("a=hf:x/y", "a", "hf:x/y"),
        ("onnx:folder/a=b.onnx", None, "onnx:folder/a=b.onnx"),
        ("{source: 'onnx:a=b.onnx', saw: faces with labels}", None, "onnx:a=b.onnx"),
    ],
)
def test_forms_of_the_option(text, name, source):
    given, params = read_encoder(text)
    assert (given, params.source) == (name, source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resnet18", "the source begins with none of timm:, hf:, onnx:, module:, fabnet:, vgg_face:"),
        ("timm:", "source: String should match pattern"),
        ("module:only", "source is module:PACKAGE.MODULE:FUNCTION, not module:only"),
        ("a={source: 'timm:x', mean: [0, 0, 0]}", "mean is no option of timm:, which has weights"),
        ("a={source: 'timm:x', saw: dogs}", "saw: Input should be 'faces with labels'"),
        ("a={source: 'vgg_face:x', saw: faces}", "saw is `faces with labels` of vgg_face:, not `faces`"),
        ("a={source: 'hf:x', output: best}", "output of hf: is pooler, cls or mean, not best"),
        ("a={source: 'timm:x', size: 3}", "size: unknown key; is it misspelt?"),
        ("a={saw: faces}", "source: is missing"),
        ("a={source: [}", "not valid YAML"),
        ("a={source}", "source: Input should be a valid string"),
    ],
)
def test_options_that_are_refused(text, said):
    with pytest.raises(ConfigError) as caught:
        read_encoder(text)
    assert str(caught.value).startswith(f"--encoder {text}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_preprocessing_is_its_formula():
    prepare = Preprocessing(SIDE, MEAN, STD, channels="BGR", layout="NHWC")
    blue = (IMAGES[0, 2, 3, 2] / 255 - MEAN[0]) / STD[0]
    assert prepare(IMAGES)[0, 2, 3, 0] == pytest.approx(blue, rel=1e-5)
