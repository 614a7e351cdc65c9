"""Every view made from the others, against one target at a time; maps of half the size against interpolation."""

import pytest
import torch
from torch.nn import functional

from fabnet.errors import UserError
from fabnet.networks.build import build, build_described
from fabnet.networks.fabnet import OURS, Conventions, FabNet
from fabnet.training.objective import every_view_loss

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
