"""Encoders of hubs: timm and Transformers where they are installed, and stand-ins of them where they are not.

Neither is a dependency of the tests: timm needs a torchvision that is built for the installed torch.
"""

import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fabnet.encoders import hubs
from fabnet.encoders.encoder import require_sound
from fabnet.encoders.open import open_encoder
from fabnet.errors import UserError
from fabnet.files import hash_file

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
CONFIG = {"input_size": (3, 16, 16), "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7), "interpolation": "bicubic"}


class Small(nn.Module):
    """timm's interface of a model: features, and a classifier that can be taken away."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 16)
        self.norm = nn.BatchNorm2d(6)
        self.fc: nn.Module = nn.Linear(6, classes) if classes else nn.Identity()

    def reset_classifier(self, classes: int) -> None:
        assert classes == 0
        self.fc = nn.Identity()

    def forward(self, x):
        return self.fc(self.norm(self.body(x)).flatten(1))


@pytest.fixture
def timm(monkeypatch):
    """A stand-in of timm that knows one model, `small`, and asks the hub as timm does for its published weights."""
    made = ModuleType("timm")

    def create_model(name, pretrained=False, num_classes=None, pretrained_cfg_overlay=None):
        if name != "small":
            raise RuntimeError(f"Unknown model ({name})")
        torch.manual_seed(0)
        overlay = pretrained_cfg_overlay or {}
        network = Small(10 if num_classes is None else num_classes)
        if pretrained and "state_dict" not in overlay:
            huggingface_hub.hf_hub_download("timm/small", "model.safetensors")
        if pretrained:
            network.load_state_dict(overlay["state_dict"])
        return network

    made.create_model = create_model
    made.data = SimpleNamespace(resolve_model_data_config=lambda network: dict(CONFIG))
    made.models = SimpleNamespace(get_pretrained_cfg=lambda name: SimpleNamespace(classifier="fc"))
    monkeypatch.setitem(sys.modules, "timm", made)
    return made


@pytest.mark.parametrize("classes", [0, 7])
def test_a_model_of_timm_has_the_weights_of_the_file_and_timms_preprocessing(timm, tmp_path, classes):
    network = Small(classes).eval()
    network.norm.running_mean.normal_()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    encoder = open_encoder(f"{{source: timm:small, weights: {tmp_path}/w.pth, saw: images}}")
    shown = np.stack([np.asarray(Image.fromarray(each).resize((16, 16), Image.BICUBIC)) for each in IMAGES])
    x = (shown / 255 - np.array(CONFIG["mean"])) / np.array(CONFIG["std"])
    network.fc = nn.Identity()
    with torch.no_grad():
        wanted = network(torch.from_numpy(x.transpose(0, 3, 1, 2)).float())
    np.testing.assert_allclose(encoder.embed(IMAGES), wanted, rtol=1e-4, atol=1e-5)
    assert require_sound(encoder, IMAGES) == 6  # in evaluation mode
    assert (encoder.name, encoder.saw, encoder.weights_sha256) == ("small", "images", hash_file(tmp_path / "w.pth"))


def test_weights_of_another_network_are_refused(timm, tmp_path):
    state = Small(7).state_dict()
    del state["body.bias"]
    torch.save(state, tmp_path / "w.pth")
    for weights, said in (("w.pth", "Missing key"), ("none.pth", "none.pth: no such file")):
        with pytest.raises(UserError, match=said) as caught:
            open_encoder(f"{{source: timm:small, weights: {tmp_path}/{weights}}}")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"^timm:large: Unknown model \(large\)$"):
        open_encoder("timm:large")


def test_what_is_not_in_the_cache_is_one_line_without_a_network(timm, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hubs, "_found", lambda host: False)
    with pytest.raises(UserError) as caught:
        open_encoder("timm:small")
    assert f"timm:small: is not in the cache of this machine ({tmp_path}), and its hub cannot be reached; copy" in str(
        caught.value
    )
    assert not huggingface_hub.constants.HF_HUB_OFFLINE  # as it was
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="and HF_HUB_OFFLINE is set; copy"):
        open_encoder("timm:small")


def test_the_hub_is_asked_only_for_what_is_not_in_the_cache(monkeypatch):
    def load(cached, asked):
        asked.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        if asked[-1] and not cached:
            raise FileNotFoundError("not cached")
        return "network"

    monkeypatch.setattr(hubs, "_found", lambda host: True)
    for cached, wanted in ((True, [True]), (False, [True, False])):
        asked: list[bool] = []
        assert hubs._cached_or_fetched(partial(load, cached, asked), "timm:x") == "network"
        assert asked == wanted


def test_images_that_are_not_square_or_have_other_channels_are_refused(timm, tmp_path):
    torch.save(Small(0).state_dict(), tmp_path / "w.pth")
    for shape, said in (((3, 16, 32), "takes 3 x 16 x 32"), ((1, 16, 16), "takes 1 x 16 x 16")):
        timm.data = SimpleNamespace(resolve_model_data_config=lambda network, at=shape: {**CONFIG, "input_size": at})
        with pytest.raises(UserError, match=said):
            open_encoder(f"{{source: timm:small, weights: {tmp_path}/w.pth}}")


def test_the_hash_of_weights_is_of_their_values():
    one, same = Small(3), Small(3)
    same.load_state_dict(one.state_dict())
    assert hubs.hash_state(one) == hubs.hash_state(same)
    with torch.no_grad():
        same.fc.bias[0] += 1
    assert hubs.hash_state(one) != hubs.hash_state(same)
    assert hubs.hash_state(one, {"fc.bias"}) == hubs.hash_state(same, {"fc.bias"})


def test_a_model_of_the_real_timm_embeds_as_its_own_transform_and_network_do(tmp_path):
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=7)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    encoder = open_encoder(f"{{source: timm:resnet10t, weights: {tmp_path}/w.pth}}")
    config = timm.data.resolve_model_data_config(network) | {"crop_pct": 1.0}
    transform = timm.data.create_transform(**config, is_training=False)
    x = torch.stack([transform(Image.fromarray(each)) for each in IMAGES])
    network.reset_classifier(0)
    with torch.no_grad():
        wanted = network.eval()(x)
    np.testing.assert_allclose(encoder.embed(IMAGES), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooler", [True, False])
def test_a_model_of_the_real_transformers_embeds_as_its_own_processor_and_network_do(tmp_path, pooler):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16, patch_size=8
    )
    network = transformers.ViTModel(config, add_pooling_layer=pooler).eval()
    network.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    encoder = open_encoder(f"hf:{tmp_path}")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    images = IMAGES[:, :16, :16]  # of its side: whether Pillow or torchvision resizes changes a grey level
    x = processor(images=[Image.fromarray(each) for each in images], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found = network(x)
    wanted = found.pooler_output if pooler else found.last_hidden_state[:, 0]
    np.testing.assert_allclose(encoder.embed(images), wanted, rtol=1e-4, atol=1e-5)
    assert encoder.weights_sha256 == open_encoder(f"hf:{tmp_path}").weights_sha256
    if not pooler:
        with pytest.raises(UserError, match="lacks the weights of its pooler"):
            open_encoder(f"{{source: 'hf:{tmp_path}', output: pooler}}")
