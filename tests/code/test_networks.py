"""The networks against the specification, and the warp and every view against naive loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fabnet.errors import UserError
from fabnet.files import write_json
from fabnet.networks.build import build, build_described, load_model, random_encoder, start_from
from fabnet.networks.decoder import Decoder, axis_matrix, convolve_upsampled
from fabnet.networks.encoder import Encoder, embed_images
from fabnet.networks.fabnet import OURS, Conventions, FabNet, GatheredWarp, identity_grid, warp
from fabnet.networks.pretext import Autoencoder
from fabnet.training.objective import every_view_loss


def naive_warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Bilinear sampling of (C, H, W) at identity + flow, one pixel at a time, corners aligned."""
    size = image.shape[-1]
    output = np.zeros_like(image)
    for row in range(size):
        for column in range(size):
            x = min(max(2 * column / (size - 1) - 1 + flow[0, row, column], -1), 1)
            y = min(max(2 * row / (size - 1) - 1 + flow[1, row, column], -1), 1)
            x, y = (x + 1) / 2 * (size - 1), (y + 1) / 2 * (size - 1)
            left, top = min(math.floor(x), size - 2), min(math.floor(y), size - 2)
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
                output[:, row, column] += weight * image[:, top + dy, left + dx]
    return output


def test_warp_equals_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 16, 16, generator=generator)
    flow = torch.rand(2, 2, 16, 16, generator=generator) * 1.6 - 0.8
    expected = np.stack([naive_warp(i, f) for i, f in zip(image.double().numpy(), flow.double().numpy(), strict=True)])
    np.testing.assert_allclose(warp(image, flow).numpy(), expected, atol=2e-5)


def test_the_gathered_gradient_of_the_grid_is_that_of_grid_sample():
    """Also at pixels' centres and on the border, where a neighbour lies outside; in float64, to the last digits."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 9, 9, generator=generator, dtype=torch.float64)
    image = image.contiguous(memory_format=torch.channels_last)
    free = torch.rand(2, 9, 9, 2, generator=generator, dtype=torch.float64) * 2.4 - 1.2  # some outside
    for grid in (free, free.clamp(-1, 1), identity_grid(9).double().expand(2, -1, -1, -1)):
        gradients = []
        for sample in (GatheredWarp.apply, lambda i, g: functional.grid_sample(i, g, align_corners=True)):
            leaf = grid.clone().requires_grad_()
            weights = torch.rand(2, 3, 9, 9, generator=generator.manual_seed(1), dtype=torch.float64)
            (sample(image, leaf) * weights).sum().backward()
            gradients.append(leaf.grad)
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_zero_flow_reproduces_the_source():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(warp(image, torch.zeros(1, 2, 32, 32)), image, atol=1e-5, rtol=0)


def test_positive_dx_samples_from_the_right():
    image = torch.arange(8.0).expand(1, 1, 8, 8)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2 / 7  # one pixel, when -1 and 1 are the centres of the first and last of eight
    torch.testing.assert_close(warp(image, flow)[0, 0, 0], torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 7]))


def test_identity_grid_corners():
    grid = identity_grid(5)
    assert grid.shape == (1, 5, 5, 2)
    assert grid[0, 0, 4].tolist() == [1, -1]  # (x, y) of the upper right corner


def test_encoder_of_the_paper():
    """Eight 4x4 stride-2 convolutions 32, 64, 128, 256 x 4, 256-D; batch norm on the inner six."""
    encoder = Encoder(256, 32, 256)
    convolutions = [layer for layer in encoder.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 64, 128, 256, 256, 256, 256, 256]
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in convolutions} == {((4, 4), (2, 2), (1, 1))}
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in encoder.layers) == 6
    assert isinstance(encoder.layers[0], nn.Conv2d)
    assert isinstance(encoder.layers[1], nn.LeakyReLU)
    assert isinstance(encoder.layers[-1], nn.Conv2d)


def test_decoder_of_the_paper():
    decoder = Decoder(256, 512, 32, out_channels=2)
    convolutions = [layer for layer in decoder.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [256, 256, 256, 256, 128, 64, 32, 2]
    assert convolutions[0].in_channels == 512
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in decoder.layers) == 7
    assert isinstance(decoder.layers[-1], nn.Tanh)


@pytest.mark.parametrize(("size", "channels", "outputs"), [(1, 5, 7), (2, 3, 4), (8, 6, 2), (16, 4, 1), (32, 3, 3)])
def test_convolution_of_an_upsampled_map_by_matrix_products(size, channels, outputs):
    """Values and all gradients are those of upsampling first, in float64."""
    generator = torch.Generator().manual_seed(size)
    image = torch.randn(2, channels, size, size, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64, requires_grad=True)
    upsampled = functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=True)
    expected = functional.conv2d(upsampled, weight, bias, padding=1)
    actual = convolve_upsampled(image, weight, bias, axis_matrix(size, torch.float64))
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    upstream = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    inputs = (image, weight, bias)
    for one, other in zip(
        torch.autograd.grad(actual, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("size", "filters"), [(16, 4), (64, 16), (128, 8)])
def test_a_factored_decoder_is_the_same_function_of_the_same_weights(size, filters):
    torch.manual_seed(0)
    decoder = Decoder(size, 32, filters, out_channels=2).eval()
    assert not any("axis" in name for name in decoder.state_dict())
    embedding = torch.randn(3, 32)
    with torch.no_grad():
        direct = decoder(embedding)
        decoder.factored = True
        torch.testing.assert_close(decoder(embedding), direct, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            factored = decoder(embedding).float()
            decoder.factored = False
            rounded = decoder(embedding).float()
    # Rounding to bfloat16 costs it no more than twice what it costs the direct way.
    assert (factored - direct).norm() < 2 * (rounded - direct).norm()


@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("network", [FabNet, Autoencoder])
def test_shapes_at_every_size(network, size):
    model = network(size, base_filters=4, embedding_dim=16)
    views = torch.rand(model.views, 2, 3, size, size)
    assert model.views == {FabNet: 2, Autoencoder: 1}[network]
    assert model(views).shape == (2, 3, size, size)
    assert model.encoder(views[0]).shape == (2, 16)


def naive_sources(model: FabNet, views: torch.Tensor, mask: np.ndarray) -> np.ndarray:
    """The generated frames (B, 3, H, W) of a network in evaluation mode, one source, sample and pixel at a time."""
    frames = views.double().numpy()
    generated = np.zeros_like(frames[0])
    for sample in range(views.shape[1]):
        embedded = [model.encoder(view[sample][None]) for view in views]
        exps, warped = [], []
        for source in range(1, len(views)):
            if not mask[source, sample]:
                continue
            pair = torch.cat((embedded[source], embedded[0]), dim=1)  # the order of the released code
            exps.append(np.exp(model.confidence_decoder(pair)[0].double().numpy()))
            warped.append(naive_warp(frames[source, sample], model.flow_decoder(pair)[0].double().numpy()))
        generated[sample] = sum(e * w for e, w in zip(exps, warped, strict=True)) / sum(exps)
    return generated


@pytest.mark.parametrize("padded", [False, True])
def test_sources_are_weighted_by_their_confidence(padded):
    torch.manual_seed(0)
    model = FabNet(16, 4, 8, sources=3).eval()
    for parameter in model.parameters():
        parameter.data *= 2  # confidences that differ
    views = torch.rand(4, 2, 3, 16, 16) * 2 - 1
    mask = np.ones((4, 2), dtype=bool)
    if padded:
        mask[2, 0] = mask[3, 0] = mask[1, 1] = False
    with torch.no_grad():
        expected = naive_sources(model, views, mask)
        actual = model(views, torch.from_numpy(mask) if padded else None)
        parts = model.reconstruct(views, torch.from_numpy(mask))
    np.testing.assert_allclose(actual, expected, atol=2e-4)
    np.testing.assert_allclose(parts.generated, expected, atol=2e-4)
    assert parts.flow.shape == (3, 2, 2, 16, 16)
    torch.testing.assert_close(parts.confidence.sum(dim=0), torch.ones(2, 1, 16, 16))
    assert (parts.confidence[~torch.from_numpy(mask[1:])] == 0).all()
    assert parts.confidence[torch.from_numpy(mask[1:])].std() > 0.01


def test_the_order_of_sources_does_not_matter_and_padding_is_not_seen():
    torch.manual_seed(1)
    model = FabNet(16, 4, 8, sources=3).eval()
    views = torch.rand(4, 2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(views), model(views[[0, 3, 1, 2]]))
        mask = torch.tensor([[True, True], [True, True], [False, False], [True, True]])
        other = views.clone()
        other[2] = 0
        torch.testing.assert_close(model(views, mask), model(other, mask), rtol=0, atol=0)
        torch.testing.assert_close(model(views, mask), model(views[[0, 1, 3]]))


def test_padding_gives_no_gradient():
    torch.manual_seed(2)
    model = FabNet(16, 4, 8, sources=2).eval()
    views = torch.rand(3, 2, 3, 16, 16, requires_grad=True)
    model(views, torch.tensor([[True, True], [True, False], [True, True]])).sum().backward()
    assert (views.grad[1, 1] == 0).all()
    assert (views.grad[1, 0] != 0).any()


def test_one_source_has_no_confidences():
    torch.manual_seed(3)
    model = FabNet(16, 4, 8).eval()
    assert not any(name.startswith("confidence") for name in model.state_dict())
    views = torch.rand(2, 2, 3, 16, 16)
    parts = model.reconstruct(views)
    torch.testing.assert_close(parts.generated, model(views))
    assert (parts.confidence == 1).all()
    torch.testing.assert_close(parts.flow[0], model.flow(views[1], views[0]))
    with pytest.raises(ValueError, match="built for one source"):
        model(torch.rand(3, 2, 3, 16, 16))


def test_starting_from_a_variant(tmp_path):
    """Three sources start from one: what both have is taken, the confidence decoder is new."""
    card = {"objective": "fabnet", "image_size": 32, "base_filters": 4, "embedding_dim": 16, "sources": 1}
    write_json(tmp_path / "model.json", card)
    trained = build("fabnet", 32, 4, 16)
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    model = build("fabnet", 32, 4, 16, 3)
    new = {name: value.clone() for name, value in model.confidence_decoder.state_dict().items()}
    start_from(model, tmp_path)
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    for name, value in new.items():
        assert torch.equal(model.confidence_decoder.state_dict()[name], value)
    for other in (build("fabnet", 32, 8, 16, 3), build("fabnet", 16, 4, 16, 3), build("autoencoder", 32, 4, 16)):
        with pytest.raises(UserError, match=r"cannot be started from: \S+ differs; it is fabnet of 32 px, 4 filters"):
            start_from(other, tmp_path)
    write_json(tmp_path / "model.json", card | {"sources": 3})
    torch.save(model.state_dict(), tmp_path / "best.pt")
    assert load_model(tmp_path)[0].views == 4


@pytest.mark.parametrize("size", [0, 4, 48, 100])
def test_impossible_size(size):
    with pytest.raises(ValueError, match="power of two"):
        Encoder(size)


def test_target_is_seen_only_through_its_embedding():
    """Two targets with one embedding must give one generated frame."""
    torch.manual_seed(0)
    model = FabNet(16, 4, 8).eval()
    source = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        for parameter in model.encoder.layers[-1].parameters():
            parameter.zero_()
        first, second = (model(torch.stack((torch.rand(1, 3, 16, 16), source))) for _ in range(2))
    torch.testing.assert_close(first, second)


def test_embedding_does_not_depend_on_the_batch():
    encoder = random_encoder(32, 4, 16, seed=3)
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    together = np.concatenate(list(embed_images(encoder, [images])))
    apart = np.concatenate(list(embed_images(encoder, [images[:3], images[3:]])))
    np.testing.assert_allclose(together, apart, atol=1e-6)
    assert together.dtype == np.float32


def test_random_encoder_is_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (random_encoder(32, 4, 16, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    card = {"objective": "fabnet", "image_size": 32, "base_filters": 4, "embedding_dim": 16}
    write_json(tmp_path / "model.json", card)
    torch.save(build("fabnet", 32, 8, 16).state_dict(), tmp_path / "best.pt")
    with pytest.raises(UserError, match=r"best\.pt: does not fit"):
        load_model(tmp_path)
    torch.save(build("fabnet", 32, 4, 16).state_dict(), tmp_path / "best.pt")
    model, read = load_model(tmp_path)
    assert read == card
    assert not model.training
    with pytest.raises(UserError, match=r"last\.pt: no such file"):
        load_model(tmp_path, "last.pt")


SIZE, BATCH = 16, 3


def network(sources: int, **shape: bool | int) -> FabNet:
    torch.manual_seed(0)
    made = FabNet(SIZE, 4, 8, sources, **shape).eval()
    for layer in made.flow_decoder.modules():  # else all flows are nearly none
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.2)
    return made


def views(count: int) -> torch.Tensor:
    return torch.rand(count, BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def turned(tensor: torch.Tensor, target: int) -> torch.Tensor:
    """With `target` first and the others in their order."""
    order = [target, *(i for i in range(len(tensor)) if i != target)]
    return tensor[order]


@pytest.mark.parametrize("shape", [{}, {"flow_stride": 2}, {"flow_stride": 2, "shared_decoder": True}])
def test_several_sources_are_those_of_one_target_at_a_time(shape):
    model, frames = network(3, **shape), views(4)
    mask = torch.ones(4, BATCH, dtype=torch.bool)
    mask[2, 1] = mask[3, 1] = mask[3, 2] = False
    expected = torch.stack([model(turned(frames, j), turned(mask, j)) for j in range(4)])
    model.every_view = True
    made = model(frames, mask)
    assert made.shape == (4, 1, BATCH, 3, SIZE, SIZE)
    torch.testing.assert_close(made[:, 0], expected, atol=1e-5, rtol=1e-4)
    losses = torch.stack([(expected[j] - frames[j]).abs().mean(dim=(1, 2, 3)) for j in range(4)])
    for b in range(BATCH):
        one = losses[mask[:, b], b].mean()
        torch.testing.assert_close(every_view_loss(made, frames, mask)[b], one)


@pytest.mark.parametrize("shape", [{}, {"flow_stride": 2}])
def test_a_single_source_moves_each_view_into_each(shape):
    model, frames = network(1, **shape), views(3)
    pairs = [[model(torch.stack((frames[j], frames[i]))) for i in range(3) if i != j] for j in range(3)]
    model.every_view = True
    made = model(frames)
    for j in range(3):
        torch.testing.assert_close(made[j], torch.stack(pairs[j]), atol=1e-5, rtol=1e-4)
    mask = torch.ones(3, BATCH, dtype=torch.bool)
    mask[2, 0] = False  # of this sample only 0 from 1 and 1 from 0 count
    two = torch.stack([(made[j, 0] - frames[j]).abs().mean(dim=(1, 2, 3))[0] for j in (0, 1)]).mean()
    torch.testing.assert_close(every_view_loss(made, frames, mask)[0], two)
    torch.testing.assert_close(every_view_loss(made, frames, None)[1], every_view_loss(made, frames, mask)[1])


@pytest.mark.parametrize("aligned", [True, False])
def test_a_coarse_map_is_interpolated(aligned):
    model = FabNet(32, 4, 8, conventions=Conventions(align_corners=aligned), flow_stride=4)
    coarse = torch.rand(2, 2, 8, 8)
    full = functional.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=aligned)
    torch.testing.assert_close(model._full_size(coarse), full)


def test_a_card_says_the_shape():
    card = {"objective": "fabnet", "image_size": SIZE, "base_filters": 4, "embedding_dim": 8, "sources": 3}
    built = build_described(card | {"flow_stride": 2, "shared_decoder": True}, OURS)
    assert built.state_dict().keys() == network(3, flow_stride=2, shared_decoder=True).state_dict().keys()
    assert not any(name.startswith("confidence_decoder") for name in built.state_dict())
    assert build_described(card, OURS).state_dict().keys() == FabNet(SIZE, 4, 8, 3).state_dict().keys()


@pytest.mark.parametrize("stride", [0, 3, 4])
def test_a_flow_of_less_than_eight_pixels_is_refused(stride):
    with pytest.raises(UserError, match=f"flow_stride {stride}: must be 1, 2 or 4, and leave the flow of 16 px"):
        build("fabnet", SIZE, 4, 8, flow_stride=stride)
