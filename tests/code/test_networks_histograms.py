"""Orientation histograms against plain loops and OpenCV, what embeddings tell of them, and which params they take."""

import cv2
import numpy as np
import pytest
import torch
from small_runs import SIZE, losses_per_step, params, trainer
from torch import Tensor

from fabnet.config import VariantParams
from fabnet.errors import UserError
from fabnet.networks.build import build, build_described
from fabnet.networks.fabnet import OURS
from fabnet.networks.histograms import (
    CELLS,
    DIRECTIONS,
    HistogramHead,
    cell_weights,
    direction_kernels,
    orientation_histograms,
)

DIM = 16


def frames(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def by_loops(image_3HW: np.ndarray) -> np.ndarray:
    """Histograms of one frame: OpenCV's grey and derivatives, then one cell and one direction at a time."""
    grey = cv2.cvtColor(image_3HW.transpose(1, 2, 0), cv2.COLOR_RGB2GRAY)
    across, down = (
        cv2.Sobel(grey, cv2.CV_32F, *order, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
        for order in ((1, 0), (0, 1))
    )
    angle, length, side = np.arctan2(down, across), np.hypot(across, down), len(grey) // CELLS
    cells = np.zeros((DIRECTIONS, CELLS, CELLS))
    for direction, row, column in np.ndindex(cells.shape):
        from_row, from_column = (max(place * side - side // 2, 0) for place in (row, column))
        pixels = np.s_[from_row : (row + 1) * side + side // 2, from_column : (column + 1) * side + side // 2]
        towards = np.cos(angle[pixels] - 2 * np.pi * direction / DIRECTIONS)
        cells[direction, row, column] = (length[pixels] * np.maximum(towards, 0)).mean()
    divided = np.zeros_like(cells)
    for row, column in np.ndindex(CELLS, CELLS):
        around = [
            (cells[:, np.clip(row + i, 0, CELLS - 1), np.clip(column + j, 0, CELLS - 1)] ** 2).sum()
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
        divided[:, row, column] = cells[:, row, column] / np.sqrt(np.mean(around) + 0.05**2)
    return divided.ravel()


@pytest.mark.parametrize("size", [16, 32])
def test_histograms_are_those_of_plain_loops(size):
    images = frames(2, 3, size, size)
    found = orientation_histograms(images, direction_kernels())
    assert found.shape == (2, DIRECTIONS * CELLS**2)
    for one, image in zip(found, images, strict=True):
        np.testing.assert_allclose(one, by_loops(image.numpy()), rtol=1e-4, atol=1e-5)


def test_light_changes_them_little_and_a_shift_much():
    """A constant is taken out wholly, and a factor where there is contrast."""
    wave = torch.linspace(0, 4 * np.pi, 64).sin()
    image = (wave[:, None] * wave[None]).expand(1, 3, 64, 64)
    changed = (image, image + 0.3, 0.7 * image, image.roll(4, -1))
    plain, brighter, flatter, moved = (orientation_histograms(each, direction_kernels()) for each in changed)
    torch.testing.assert_close(brighter, plain, rtol=1e-4, atol=1e-5)
    assert (flatter - plain).norm() < 0.25 * (moved - plain).norm()


def test_cells_of_the_face_count_most_and_both_sides_alike():
    weights = cell_weights().view(CELLS, CELLS)
    assert float(weights.mean()) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(weights, weights.flip(1))
    # A cell's middle at (1/8, 1/8) of a frame of [-1, 1], and the one at the lower left corner.
    near, far = (np.exp(-(x**2 + (y - 0.1) ** 2) / (2 * 0.35**2)) for x, y in ((0.125, 0.125), (-0.875, 0.875)))
    assert float(weights[4, 4] / weights[7, 0]) == pytest.approx(near / far, rel=1e-4)
    assert int(weights.argmax()) in (4 * CELLS + 3, 4 * CELLS + 4)


def told_by(head: HistogramHead, embedding_VBD: Tensor, views_VBCHW: Tensor) -> Tensor:
    """The error, sample by sample and frame by frame."""
    errors = []
    for sample in range(views_VBCHW.shape[1]):
        true = orientation_histograms(views_VBCHW[:, sample], direction_kernels())
        told = embedding_VBD[:, sample] @ head.told.weight[:, :, 0, 0].T
        difference = (told - told.mean(0)) - (true - true.mean(0))
        by_cell = difference.unflatten(1, (DIRECTIONS, CELLS**2)).square().sum(1)
        errors.append((by_cell * cell_weights()).sum(1).mean() / CELLS**2)
    return torch.stack(errors)


def test_errors_are_of_changes_within_each_sample_and_padding_does_not_count():
    torch.manual_seed(0)
    head, views, embedding = HistogramHead(SIZE, DIM), frames(4, 3, 3, SIZE, SIZE), frames(4, 3, DIM)
    expected = told_by(head, embedding, views)
    torch.testing.assert_close(head(embedding, views, None), expected)
    # What all frames of a sample share, such as a person, changes nothing.
    torch.testing.assert_close(head(embedding + frames(1, 3, DIM), views, None), expected, rtol=1e-4, atol=1e-5)
    mask = torch.ones(4, 3, dtype=torch.bool)
    torch.testing.assert_close(head(embedding, views, mask), expected)
    mask[2:, 1] = False
    padded = head(embedding, views, mask)
    torch.testing.assert_close(padded[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(padded[1], told_by(head, embedding[:2], views[:2])[1])


def test_embeddings_that_hold_the_histograms_have_no_error():
    head, views = HistogramHead(SIZE, DIRECTIONS * CELLS**2), frames(3, 2, 3, SIZE, SIZE)
    torch.nn.init.dirac_(head.told.weight)
    exact = orientation_histograms(views.flatten(0, 1), direction_kernels()).unflatten(0, (3, 2))
    assert float(head(exact + 5, views, None).detach().abs().max()) < 1e-9
    alike = views[:1].expand(3, -1, -1, -1, -1)
    assert float(head(torch.zeros_like(exact), alike, None).detach().abs().max()) < 1e-9


def test_only_the_embedding_gets_a_gradient():
    head, views, embedding = HistogramHead(SIZE, DIM), frames(3, 2, 3, SIZE, SIZE).requires_grad_(), frames(3, 2, DIM)
    head(embedding.requires_grad_(), views, None).sum().backward()
    assert views.grad is None
    assert float(embedding.grad.abs().sum()) > 0
    torch.testing.assert_close(embedding.grad.sum(0), torch.zeros(2, DIM), atol=1e-6, rtol=0)


CHANGES = {"views": 3, "sources": 2, "flow_stride": 2, "shared_decoder": True, "histograms": 5.0}


def test_training_lowers_both_errors_and_curves_show_the_warps():
    run = trainer(params(**CHANGES, learning_rate=0.01))
    batch = run.train.finish(next(iter(run.train.iterate(0, 1))))
    before = run.training.losses(run.model, batch)
    losses = losses_per_step(run, 40)
    after = run.training.losses(run.model, batch)
    warped = [float(each.told.detach().mean()) for each in (before, after)]
    error = [float((each.minimised - each.told).detach().mean()) for each in (before, after)]
    assert losses[0] == pytest.approx(warped[0], rel=1e-4)
    assert error[1] < 0.8 * error[0]
    assert warped[1] < warped[0]


def test_the_first_weights_are_those_without_and_the_card_tells_the_head():
    def made(histogram_head: bool):
        torch.manual_seed(0)
        return build("fabnet", SIZE, 4, DIM, 3, OURS, 1, False, histogram_head)

    plain, told = made(False).state_dict(), made(True).state_dict()
    assert told.keys() - plain.keys() == {"histogram_head.told.weight"}
    assert all(torch.equal(told[name], value) for name, value in plain.items())
    card = {"objective": "fabnet", "image_size": SIZE, "base_filters": 4, "embedding_dim": DIM, "sources": 3}
    assert build_described(card, OURS).state_dict().keys() == plain.keys()
    assert build_described(card | {"histogram_head": True}, OURS).state_dict().keys() == told.keys()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"objective": "autoencoder", "histograms": 1.0}, "for objective fabnet: set `views`"),
        ({"histograms": 1.0}, "compares the `views` of a sample"),
        ({"views": 3, "histograms": -1.0}, "histograms"),
        ({"views": 3, "histograms": float("nan")}, "histograms"),
        ({"views": 1, "histograms": 1.0}, "views"),
    ],
)
def test_params_that_cannot_be_are_named(changes, problem):
    with pytest.raises(ValueError, match=problem):
        VariantParams.model_validate(params().model_dump() | changes)


def test_a_loss_that_is_not_finite_at_once_is_told_of_before_training():
    run = trainer(params(**CHANGES))
    with torch.no_grad():
        run.model.histogram_head.told.weight[0] = float("nan")
    with pytest.raises(UserError, match=r"the loss is nan before training begins; lower histograms"):
        run.run()
    assert (run.step, run.history) == (0, [])
