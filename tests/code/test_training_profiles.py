"""What the profiles paper, gpu and tables make of the three variants, and that none computes in bf16 on a CPU."""

from pathlib import Path

import pytest
from committed import committed_params

from fabnet.config import Params, load_params
from fabnet.profiles import DEFAULT, use_profile
from fabnet.training.schedule import Curriculum

ROOT = Path(__file__).parents[2]
VARIANTS = ("fabnet", "fabnet_curriculum", "fabnet_curriculum_3src")


@pytest.fixture
def profile(tmp_path):
    def use(name: str) -> Params:
        params = tmp_path / "params.yaml"
        params.write_text(committed_params())
        if name != DEFAULT:
            use_profile(name, params, ROOT / "profiles")
        return load_params(params)

    return use


def test_the_variants_of_the_paper(profile):
    everything = profile("paper")
    extract = everything.extract
    assert (extract.source, extract.recrop, extract.image_size, extract.fps) == ("voxceleb2", "authors", 256, 1)
    variants = [everything.train.variant(name) for name in VARIANTS]
    assert [variant.batch_size for variant in variants] == [8, 32, 32]
    assert [variant.sources for variant in variants] == [1, 1, 3]
    for variant in variants:
        assert (variant.optimiser, variant.learning_rate, variant.momentum) == ("sgd", 0.001, 0.9)
        assert (variant.schedule, variant.precision, variant.flip) == ("plateau", "fp32", False)
        assert (variant.base_filters, variant.embedding_dim) == (32, 256)
        assert variant.jitter == pytest.approx(1 - 170 / 190, abs=1e-3)
        assert variant.samples == variants[0].samples
    plain, *hard = variants
    assert plain.curriculum is None
    for variant in hard:
        curriculum = variant.curriculum
        assert (curriculum.width, curriculum.shift, curriculum.shifts, curriculum.longest) == (50, 10, 4, None)
    assert (variants[2].start_from, variants[2].freeze) == ("fabnet_curriculum", ("flow_decoder",))


@pytest.mark.parametrize("name", ["default", "tables", "gpu", "paper"])
def test_the_curriculum_is_a_second_phase_through_the_windows_of_the_paper(profile, name):
    """Every window is reached within the budget, and the learning rate drops in the last one alone."""
    train = profile(name).train
    plain, second, third = map(train.variant, VARIANTS)
    assert (plain.start_from, second.start_from, third.start_from) == (None, "fabnet", "fabnet_curriculum")
    windows = Curriculum(second.curriculum).windows
    assert (windows[0], windows[-1], len(windows)) == ((0, 50), (40, 90), 5)
    if second.curriculum.longest is not None:
        reached = second.validation_every * -(-second.curriculum.longest // second.validation_every) * 4
        assert reached < second.drop_at * second.samples
        assert second.schedule == "step"


def test_the_study_on_a_gpu_is_that_of_the_tables_at_128_px_and_ten_times_as_long(profile):
    default, gpu = profile("tables"), profile("gpu")
    assert gpu.extract.image_size == 128
    assert gpu.synthesize.image_size >= 128
    assert gpu.synthesize.videos.identities > default.synthesize.videos.identities
    for name in VARIANTS:
        before, after = default.train.variant(name), gpu.train.variant(name)
        assert after.samples == 10 * before.samples, name
        assert after.validation_every == 10 * before.validation_every
        assert (after.curriculum is None) == (before.curriculum is None)
        if before.curriculum is not None:
            assert after.curriculum.shifts == before.curriculum.shifts
            if before.curriculum.longest is not None:
                assert after.curriculum.longest == 10 * before.curriculum.longest
        same = ("objective", "sources", "start_from", "freeze", "optimiser", "learning_rate", "schedule", "views")
        for key in same:
            assert getattr(after, key) == getattr(before, key), (name, key)
        assert after.batch_size > before.batch_size
        assert after.workers <= 16
        # All frames of the videos fit into the cache.
        videos = gpu.synthesize.videos
        frames = videos.identities * videos.seconds * videos.fps
        assert frames * 3 * gpu.extract.image_size**2 < after.cache_mb * 2**20 * 7 / 8


@pytest.mark.parametrize("name", ["paper", "tables"])
def test_the_network_of_the_paper(profile, name):
    params = profile(name)
    for variant in map(params.train.variant, params.train.names):
        assert (variant.views, variant.flow_stride, variant.shared_decoder) == (None, 1, False)
    assert params.supervise.seeds == 1


@pytest.mark.parametrize("name", ["default", "tables", "tiny"])
def test_what_runs_on_a_cpu_is_in_float32(profile, name):
    params = profile(name)
    assert {params.train.variant(variant).precision for variant in params.train.names} == {"fp32"}
    assert params.supervise.precision == "fp32"
