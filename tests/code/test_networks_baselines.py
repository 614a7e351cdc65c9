"""The networks of the pretext baselines: rotation, and split-brain with its colours."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from fabnet.networks.build import build
from fabnet.networks.pretext import Rotation, SplitBrain, SplitBrainEncoder, ToLab
from fabnet.training.objective import rotation_loss, split_brain_loss

SIZE = 16
to_lab = ToLab()


def frames(count: int, size: int = SIZE, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# -- colours --------------------------------------------------------------------------------------------------------


def lab_of_a_pixel(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """L*, a*, b* of sRGB in [0, 1], by the formulas of IEC 61966-2-1 and CIE 15, one pixel at a time."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    matrix = (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
    white = [sum(row) for row in matrix]
    xyz = [sum(m * c for m, c in zip(row, linear, strict=True)) / w for row, w in zip(matrix, white, strict=True)]
    fx, fy, fz = (
        math.copysign(abs(t) ** (1 / 3), t) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in xyz
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def test_lab_equals_the_formulas_pixel_by_pixel():
    image = frames(1, 8)
    image[0, :, 0, :4] = torch.tensor([-1.0, -0.99, -0.93, 1.0])  # both sides of either threshold, black and white
    told = to_lab(image)[0].double().numpy()
    for row in range(8):
        for column in range(8):
            lightness, a, b = lab_of_a_pixel(*((image[0, :, row, column].double().numpy() + 1) / 2))
            expected = lightness / 50 - 1, a / 110, b / 110
            np.testing.assert_allclose(told[:, row, column], expected, atol=2e-5)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # as colour tables print them, for D65
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colours(rgb, lab):
    image = (torch.tensor(rgb, dtype=torch.float32) / 127.5 - 1)[None, :, None, None]
    lightness, a, b = to_lab(image)[0, :, 0, 0].tolist()
    np.testing.assert_allclose(((lightness + 1) * 50, a * 110, b * 110), lab, atol=0.02)


def test_all_colours_stay_within_minus_one_and_one():
    levels = torch.linspace(-1, 1, 18)
    cube = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, 18, -1)
    assert to_lab(cube).abs().max() <= 1 + 1e-5


def test_autocast_does_not_round_colours():
    image = frames(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(to_lab(image), to_lab(image.clone()))
        cast = to_lab(image)
    assert torch.equal(cast, to_lab(image))
    assert cast.dtype == torch.float32


# -- split-brain ----------------------------------------------------------------------------------------------------


def test_each_half_of_the_embedding_sees_its_part_of_the_colours_only():
    encoder = SplitBrainEncoder(SIZE, 4, 12).eval()
    lab = to_lab(frames(3))
    other = to_lab(frames(3, seed=1))
    with torch.no_grad():
        both = encoder.of_lab(lab)
        lighter = encoder.of_lab(torch.cat((other[:, :1], lab[:, 1:]), dim=1))
        redder = encoder.of_lab(torch.cat((lab[:, :1], other[:, 1:]), dim=1))
    torch.testing.assert_close(lighter[:, 6:], both[:, 6:])
    assert not torch.isclose(lighter[:, :6], both[:, :6]).any()
    torch.testing.assert_close(redder[:, :6], both[:, :6])
    assert not torch.isclose(redder[:, 6:], both[:, 6:]).any()


def test_each_part_is_told_from_the_other_one():
    """So that what is told of a part does not move when that part itself changes."""
    torch.manual_seed(0)
    network = SplitBrain(SIZE, 4, 12).eval()
    image, other = frames(2), frames(2, seed=1)
    lab, changed = to_lab(image), to_lab(other)
    with torch.no_grad():
        errors = network(image[None])
        halves = network.encoder.halves(torch.cat((lab[:, :1], torch.zeros_like(lab[:, :1]), lab[:, 1:]), dim=1))
        told = network.other_decoder(halves)
        swapped = network.other_decoder(network.encoder.of_lab(torch.cat((changed[:, :1], lab[:, 1:]), dim=1)))
    torch.testing.assert_close(errors[:, 1:] + lab[:, 1:], told[:, :2])
    torch.testing.assert_close(errors[:, :1] + lab[:, :1], told[:, 2:3])
    torch.testing.assert_close(swapped[:, 2:], told[:, 2:])  # lightness is told from colours, which are the same
    assert not torch.isclose(swapped[:, :2], told[:, :2]).all()


def test_the_loss_of_split_brain_is_that_of_two_regressions():
    error = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    lightness = functional.mse_loss(error[:, 0], torch.zeros(4, 5, 5), reduction="none").mean(dim=(1, 2))
    colour = functional.mse_loss(error[:, 1:], torch.zeros(4, 2, 5, 5), reduction="none").mean(dim=(1, 2, 3))
    torch.testing.assert_close(split_brain_loss(error, frames(4)), lightness + colour)


def test_halves_have_to_be_halves():
    with pytest.raises(ValueError, match="must be even"):
        SplitBrainEncoder(SIZE, 4, 11)


# -- rotation -------------------------------------------------------------------------------------------------------


def test_rotation_scores_each_turn_of_each_frame():
    network = Rotation(SIZE, 4, 12).eval()
    image = frames(3)
    with torch.no_grad():
        scores = network(image[None])
        for sample in range(3):
            for turn in range(4):
                turned = torch.from_numpy(np.rot90(image[sample].numpy(), turn, axes=(1, 2)).copy())
                alone = network.classifier(network.encoder(turned[None]))[0]
                torch.testing.assert_close(scores[sample, turn], alone, atol=1e-5, rtol=1e-4)


def test_the_loss_of_rotation_is_the_cross_entropy_of_the_true_turn():
    scores = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = [-np.mean([scores[b, t].log_softmax(0)[t].item() for t in range(4)]) for b in range(5)]
    np.testing.assert_allclose(rotation_loss(scores, frames(5)), expected, rtol=1e-5)
    assert rotation_loss(torch.zeros(1, 4, 4), frames(1)).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("objective", ["rotation", "split_brain"])
def test_the_encoder_of_a_baseline_embeds_as_that_of_fabnet_does(objective):
    embeddings = build(objective, SIZE, 4, 12).encoder.eval()(frames(2))
    assert embeddings.shape == (2, 12)
    assert torch.isfinite(embeddings).all()
