"""The study of the curriculum: what its networks have in common, smaller copies of crops, and losses by people."""

import numpy as np
import pytest
import torch
from small_shards import write_small_shards
from whole_sections import variant_params

from fabnet.files import hash_file, write_json
from fabnet.frames.store import FrameStore
from fabnet.networks.build import build
from studies import curriculum


def test_with_and_without_the_curriculum_differ_in_nothing_else():
    for with_it, without in (("fabnet_curriculum", "fabnet_longer"), ("fabnet_curriculum_3src", "fabnet_longer_3src")):
        ours, theirs = (curriculum.variant(name, 1).model_dump() for name in (with_it, without))
        differing = {key for key in ours if ours[key] != theirs[key]}
        assert differing == ({"curriculum"} if with_it == "fabnet_curriculum" else {"start_from"})
        assert ours["seed"] == 1


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A copy, at 16 px, of shards of 32 px."""
    folder = tmp_path_factory.mktemp("shards")
    write_small_shards(folder, 32)
    (folder / "splits.parquet").rename(folder / "frames/splits.parquet")
    curriculum.shrink(folder / "frames", folder / "small", 16)
    return folder / "frames", folder / "small"


def test_a_smaller_copy_has_the_means_of_its_pixels_in_the_same_rows(small):
    large, little = map(FrameStore, small)
    assert (little.size, little.frame_count) == (16, large.frame_count)
    before, after = (store.decode(range(20)).astype(float) for store in (large, little))
    means = before.reshape(20, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(after - means).mean() < 8  # of 256; JPEG at quality 95 keeps noise but roughly
    assert (little.tracks.identities, little.member(9).partition(": ")[2]) == (
        large.tracks.identities,
        large.member(9).partition(": ")[2],
    )


@pytest.mark.parametrize("sources", [1, 3])
def test_a_network_that_moves_nothing_is_not_below_copying(small, sources, tmp_path):
    """Its loss is that of the source, by people who are drawn again."""
    torch.manual_seed(0)
    model = build("fabnet", 16, 4, 16, sources)
    for decoder in (module for name, module in model.named_children() if name.endswith("decoder")):
        *_, last = (layer for layer in decoder.modules() if isinstance(layer, torch.nn.Conv2d))
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    torch.save(model.state_dict(), tmp_path / "best.pt")
    card = {"objective": "fabnet", "variant": "fabnet", "image_size": 16, "base_filters": 4, "embedding_dim": 16}
    card |= {"sources": sources, "params": variant_params().model_dump(mode="json"), "recipe": {"hash": "none"}}
    write_json(tmp_path / "model.json", card | {"weights_sha256": hash_file(tmp_path / "best.pt")})
    found = curriculum.losses(tmp_path, small[1], small[1] / "splits.parquet")
    value, over = found["below_copying_pct"]
    assert over.shape == (curriculum.RESAMPLES,)
    assert value == pytest.approx(0, abs=0.01)
    loss, _ = found["loss_thousandths"]
    assert 200 < loss < 800  # frames are noise
