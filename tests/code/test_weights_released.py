"""The authors' layout read into our network, against a network written after the specification alone."""

import pytest
import torch
from released_files import Reference, old_state_dict, reference_decoder, reference_network

from fabnet.errors import UserError
from fabnet.files import write_json
from fabnet.networks.build import build, conventions_of, load_model, start_from
from fabnet.networks.decoder import Decoder, axis_matrix, convolve_upsampled
from fabnet.networks.encoder import Encoder
from fabnet.networks.fabnet import OURS, Conventions, FabNet
from fabnet.networks.released import from_released

SMALL = {"size": 32, "filters": 4, "dimension": 16}
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def ours(reference: Reference, aligned: bool, sources: int | None = None) -> FabNet:
    released = from_released(old_state_dict(reference), "released.pth", sources)
    sizes = released.image_size, released.base_filters, released.embedding_dim
    network = FabNet(*sizes, released.sources, Conventions(align_corners=aligned, unit_input=True))
    network.load_state_dict(released.state)
    return network.eval()


def frames(count: int, size: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(count, batch, 3, size, size, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("factored", [True, False])
@torch.no_grad()
def test_outputs_equal_those_of_an_independent_network(aligned, factored):
    """Embeddings, flow and generated frames, with both alignments and both ways to go through a decoder."""
    reference = reference_network(aligned=aligned, **SMALL)
    network = ours(reference, aligned)
    network.flow_decoder.factored = network.confidence_decoder.factored = factored
    target, *sources = frames(4, 32)
    signed = torch.stack([target, *sources]) * 2 - 1
    torch.testing.assert_close(network.encoder(signed[0]), reference.encoder(target).flatten(1), **CLOSE)
    pair = torch.cat((reference.encoder(sources[0]), reference.encoder(target)), 1)
    torch.testing.assert_close(network.flow(signed[1], signed[0]), reference.decoder(pair), **CLOSE)
    generated = (network(signed) + 1) / 2
    torch.testing.assert_close(generated, reference.generate(target, sources), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_at_the_size_of_the_paper():
    reference = reference_network(aligned=True)
    network = ours(reference, True)
    assert (network.encoder.image_size, network.encoder.embedding_dim, network.sources) == (256, 256, 3)
    target, source = frames(2, 256, batch=1)
    embedding = reference.encoder(target).flatten(1)
    assert embedding.std() > 0.1
    torch.testing.assert_close(network.encoder(2 * target - 1), embedding, rtol=1e-4, atol=1e-4)
    flow = reference.decoder(torch.cat((reference.encoder(source), reference.encoder(target)), 1))
    torch.testing.assert_close(network.flow(2 * source - 1, 2 * target - 1), flow, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_the_options_change():
    """Alignment changes the flow and no embedding; the range of pixels changes the embedding."""
    reference = reference_network(aligned=True, **SMALL)
    aligned, unaligned = ours(reference, True), ours(reference, False)
    target, source = frames(2, 32) * 2 - 1
    assert torch.equal(aligned.encoder(target), unaligned.encoder(target))
    assert (aligned.flow(source, target) - unaligned.flow(source, target)).abs().max() > 1e-2
    signed = FabNet(32, 4, 16, 3)
    signed.load_state_dict(aligned.state_dict())
    assert (signed.eval().encoder(target) - aligned.encoder(target)).abs().max() > 1e-2


@pytest.mark.parametrize("aligned", [True, False])
@torch.no_grad()
def test_decoders_without_aligned_corners(aligned):
    """Both ways through a decoder whose every level pays, and the matrix behind them in float64."""
    torch.manual_seed(3)
    decoder = Decoder(64, 128, 16, 2, align_corners=aligned).eval()
    plain = reference_decoder(64, 16, 128, 2, aligned).eval()
    plain.load_state_dict({name.removeprefix("layers."): value for name, value in decoder.state_dict().items()})
    embedding = torch.randn(3, 128)
    expected = plain(embedding[:, :, None, None])
    torch.testing.assert_close(decoder(embedding), expected, rtol=0, atol=0)
    decoder.factored = True
    assert any(name.startswith("axis_") for name, _ in decoder.named_buffers())
    torch.testing.assert_close(decoder(embedding), expected, rtol=1e-4, atol=1e-5)
    image, weight = torch.randn(2, 3, 5, 5, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64)
    up = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=aligned)
    made = convolve_upsampled(image, weight, bias, axis_matrix(5, torch.float64, aligned))
    torch.testing.assert_close(made, torch.nn.functional.conv2d(up, weight, bias, padding=1), rtol=1e-9, atol=1e-9)


def test_every_key_is_accounted_for():
    """Counts of batches may be there or not; DataParallel's prefix and other precisions are taken."""
    reference = reference_network(**SMALL)
    old, new = old_state_dict(reference), reference.state_dict()
    expected = from_released(old, "f").state
    assert expected.keys() == FabNet(32, 4, 16, 3).state_dict().keys()
    wrapped = {f"module.{name}": value for name, value in new.items()}
    doubled = {name: value.double() if value.is_floating_point() else value for name, value in new.items()}
    for variant in (new, wrapped, doubled):
        read = from_released(variant, "f").state
        assert all(torch.equal(read[name], expected[name]) for name in expected)
        assert all(read[name].dtype == expected[name].dtype for name in expected)
    halved = from_released({name: value.half() for name, value in old.items()}, "f").state
    assert halved["encoder.layers.0.weight"].dtype == torch.float32
    one = from_released(old, "f", sources=1)
    assert one.state.keys() == FabNet(32, 4, 16, 1).state_dict().keys()
    assert set(one.left_out) == {name for name in old if name.startswith("mask.")}
    without = {name: value for name, value in old.items() if not name.startswith("mask.")}
    assert (from_released(without, "f").sources, from_released(without, "f").left_out) == (1, ())


def broken(change: str) -> dict[str, torch.Tensor]:
    state = old_state_dict(reference_network(**SMALL))
    if change == "missing":
        del state["decoder.3.running_mean"]
    elif change == "unknown":
        state["lighting.0.weight"] = torch.zeros(1)
    elif change == "shape":
        state["decoder.2.weight"] = torch.zeros(32, 31, 3, 3)
    elif change == "nan":
        state["encoder.2.weight"][0, 0, 0, 0] = torch.nan
    elif change == "variance":
        state["encoder.3.running_var"][0] = -1
    elif change == "type":
        state["encoder.2.bias"] = torch.zeros(8, dtype=torch.int64)
    elif change == "kernel":
        state["encoder.2.weight"] = torch.zeros(8, 4, 3, 3)
    elif change == "other":
        state = {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)}
    elif change == "empty":
        state = {}
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "missing",
            r"f\.pth: lacks decoder\.3\.running_mean, which a FAb-Net of 32 px, 4 filters and 16 dimensions has",
        ),
        ("unknown", r"f\.pth: lighting\.0\.weight: .* no such weights"),
        ("shape", r"f\.pth: decoder\.2\.weight: is 32 x 31 x 3 x 3, but .* has 32 x 32 x 3 x 3 there"),
        ("nan", r"f\.pth: encoder\.2\.weight: .*not finite"),
        ("variance", r"f\.pth: encoder\.3\.running_var: .*below zero"),
        ("type", r"f\.pth: encoder\.2\.bias: is of type torch\.int64"),
        ("kernel", r"f\.pth: encoder\.2\.weight: is 8 x 4 x 3 x 3"),
        ("other", r"f\.pth: not FAb-Net's: .*its first key is conv1\.weight"),
        ("empty", r"f\.pth: not FAb-Net's: .*nothing"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_file_and_key(change, message):
    with pytest.raises(UserError, match=message) as error:
        from_released(broken(change), "f.pth")
    assert "\n" not in str(error.value)


def test_more_sources_than_the_file_has_decoders_for():
    state = {name: v for name, v in old_state_dict(reference_network(**SMALL)).items() if not name.startswith("mask.")}
    with pytest.raises(UserError, match=r"f\.pth: has no mask\.N.*--sources 1"):
        from_released(state, "f.pth", sources=2)


def test_conventions_travel_with_a_model(tmp_path):
    """model.json says them, loading honours them, and only a network that shares them starts from such weights."""
    conventions = Conventions(align_corners=False, unit_input=True)
    card = {"objective": "fabnet", "image_size": 16, "base_filters": 4, "embedding_dim": 8, **conventions.card()}
    model = build("fabnet", 16, 4, 8, conventions=conventions)
    write_json(tmp_path / "model.json", card)
    torch.save(model.state_dict(), tmp_path / "best.pt")
    loaded, _ = load_model(tmp_path)
    assert loaded.conventions == conventions_of(tmp_path) == conventions
    frame = frames(1, 16)[0]
    with torch.no_grad():
        assert torch.equal(loaded.encoder(frame), model.eval().encoder(frame))
    start_from(build("fabnet", 16, 4, 8, 3, conventions), tmp_path)
    with pytest.raises(UserError, match=r"cannot be started from: .*unit_input=True.*unit_input=False"):
        start_from(build("fabnet", 16, 4, 8), tmp_path)
    with pytest.raises(UserError, match="autoencoder"):
        build("autoencoder", 16, 4, 8, conventions=conventions)
    write_json(tmp_path / "model.json", card | {"conventions": {"align_corners": "no"}})
    with pytest.raises(UserError, match=r"model\.json: conventions .*unknown here"):
        load_model(tmp_path)


def test_ours_stay_as_they_were():
    """The default says nothing in model.json, and its encoder does nothing to a frame before the first layer."""
    assert OURS.card() == {}
    assert Conventions.of_card({}) == OURS == FabNet(16, 4, 8).conventions
    encoder = Encoder(16, 4, 8).eval()
    frame = frames(1, 16)[0]
    with torch.no_grad():
        assert torch.equal(encoder(frame), encoder.layers(frame).flatten(1))
