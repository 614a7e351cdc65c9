"""What networks do with frames, and the rules that choose which frames are shown."""

import numpy as np
import pytest
import torch
from inference_files import SIZE
from warping_models import write_warping

from fabnet.errors import UserError
from fabnet.figures.generated import interpolation_panels, transfer_grid
from fabnet.frames.augment import to_float
from fabnet.inspection import network as inside
from fabnet.inspection.drawing import DRAWINGS, draw_confidence, find_cases, pictures
from fabnet.inspection.network import open_fabnet
from fabnet.inspection.scenes import Pool, PoolReadings, driving_and_sources, farthest_ends, random_pairs, see


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {sources: open_fabnet(write_warping(root / f"of{sources}", sources)) for sources in (1, 3)}


def random_frames(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def seen_as(angles, mouth, tracks, embeddings=None) -> PoolReadings:
    """A pool of which these things are read; the network is not asked."""
    angles, mouth = np.asarray(angles, float), np.asarray(mouth, float)
    full = np.zeros((len(angles), 3))
    full[:, 2] = angles
    pool = Pool(random_frames(len(angles)), np.asarray(tracks))
    embedded = np.asarray(embeddings if embeddings is not None else angles[:, None], dtype=np.float32)
    return PoolReadings(pool, None, embedded, full, mouth)


def test_parts_make_what_the_whole_network_makes(models):
    frames = random_frames(6)
    for network in models.values():
        flow = inside.flows(network, *np.split(inside.embeddings(network, frames), 2))
        assert np.abs(flow).max() > 0.02
        with torch.inference_mode():
            whole = network.flow(*to_float(torch.from_numpy(frames)).chunk(2))
        np.testing.assert_allclose(flow, whole.numpy(), atol=1e-5)


def test_weighed_frames_are_the_network_s_and_their_shares_sum_to_1(models):
    frames = random_frames(8).reshape(4, 2, SIZE, SIZE, 3)
    generated, shares = inside.weighed(models[3], frames[1:], frames[0])
    with torch.inference_mode():
        whole = models[3](to_float(torch.from_numpy(frames)))
    expected = ((whole + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(generated, expected, atol=0.51)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert shares.shape == (3, 2, SIZE, SIZE)


def test_interpolation_ends_at_the_two_ends_exactly(models):
    source, a, b = random_frames(3)[:, None]
    a_D, b_D = (inside.embeddings(models[1], image) for image in (a, b))
    line = inside.between(a_D, b_D, np.array([0, 0.25, 1]))
    np.testing.assert_array_equal(line[0], a_D)
    np.testing.assert_array_equal(line[2], b_D)
    np.testing.assert_allclose(line[1], 0.75 * a_D + 0.25 * b_D, rtol=1e-5)
    steps = inside.interpolated(models[1], source, np.stack((a, b)), np.linspace(0, 1, 5))
    own = inside.embeddings(models[1], source)
    for step, target in ((steps[0], a_D), (steps[-1], b_D)):
        np.testing.assert_array_equal(step, inside.moved(source, inside.flows(models[1], own, target)))
    assert len({step.tobytes() for step in steps}) > 2


def test_transfer_gives_each_source_each_driving_frame(models):
    frames = random_frames(5)
    made = inside.transferred(models[1], frames[:2], frames[2:])
    assert made.shape == (2, 3, SIZE, SIZE, 3)
    own, other = inside.embeddings(models[1], frames[[1]]), inside.embeddings(models[1], frames[[4]])
    alone = inside.moved(frames[[1]], inside.flows(models[1], own, other))[0]
    assert np.abs(made[1, 2].astype(int) - alone).max() <= 1


def test_a_model_without_flow_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"objective autoencoder, which has no flow"):
        open_fabnet(write_warping(tmp_path / "drawn", objective="autoencoder"))


def test_frames_of_another_size_are_refused(models):
    with pytest.raises(UserError, match="frames of 16 pixels, but the model sees 32"):
        see(Pool(np.zeros((3, 16, 16, 3), np.uint8), np.zeros(3, np.int64)), models[1])


# -- rules ------------------------------------------------------------------------------------------------------------


def test_the_source_turned_away_is_the_farthest_and_the_others_the_nearest():
    #                 0   1   2   3   4    track 1: hardly turns
    seen = seen_as([0, 40, 5, -30, 8, *range(5)], np.zeros(10), [0] * 5 + [1] * 5)
    (case, *_) = find_cases(seen, 3, each=1)
    assert case.title == "a source turned away"
    assert case.target == 3 or case.target == 1
    yaw = seen.angles_N3[:, 2]
    differences = [abs(yaw[one] - yaw[case.target]) for one in case.sources]
    everything = sorted(abs(yaw[:5] - yaw[case.target]))[1:]
    assert differences == [everything[0], everything[1], everything[-1]]
    assert case.notes[-1] == f"turned by {differences[-1]:.0f}°"


def test_mouths_are_compared_between_heads_turned_alike():
    # Frame 5 has the most open mouth, but looks elsewhere.
    seen = seen_as([0, 1, 2, 3, 4, 90], [0.3, 0.28, 0.01, 0.02, 0.1, 0.9], [0] * 6)
    case = next(each for each in find_cases(seen, 3, each=1) if each.title.startswith("mouths"))
    assert case.title == "mouths more closed"
    assert (case.target, case.sources[0]) in {(0, 1), (1, 0)}
    assert set(case.sources[1:]) == {2, 3}
    assert case.notes == ("mouth as target's", "mouth more closed", "mouth more closed")


def test_noise_and_alike_need_no_readings():
    embedded = np.array([0, 1, 2, 50, 51, 53, 57])[:, None]
    seen = PoolReadings(Pool(random_frames(7), np.zeros(7, np.int64)), None, embedded.astype(np.float32), None, None)
    noise, alike = find_cases(seen, 2, each=1)
    assert (noise.title, alike.title) == ("a source of noise", "sources much alike")
    assert noise.sources[1] == -1
    assert {alike.target, *alike.sources} == {0, 1, 2}
    sources, targets = pictures(seen.pool, [noise, alike])
    np.testing.assert_array_equal(sources[0, 0], seen.pool.images_NHWC[noise.sources[0]])
    np.testing.assert_array_equal(targets[1], seen.pool.images_NHWC[alike.target])
    assert not any((sources[1, 0] == image).all() for image in seen.pool.images_NHWC)


def test_scenes_come_from_different_tracks():
    seen = seen_as([*range(0, 50, 10), *range(0, 40, 8), *range(5)], np.zeros(15), np.repeat([0, 1, 2], 5))
    turned = [case for case in find_cases(seen, 2, each=2) if case.title == "a source turned away"]
    assert [seen.pool.track_N[case.target] for case in turned] == [0, 1]


def test_too_few_frames_for_so_many_sources():
    with pytest.raises(UserError, match="no track has 4 frames"):
        find_cases(seen_as([0, 1, 2], [0, 0, 0], [0, 0, 0]), 3)


def test_ends_lie_farthest_apart_and_the_source_between_them():
    seen = seen_as(np.zeros(8), np.zeros(8), [0] * 4 + [1] * 4, np.array([0, 6, 10, 1, 0, 20, 9, 3])[:, None])
    source, a, b = farthest_ends(seen, 2)
    assert [{*pair} for pair in zip(a, b, strict=True)] == [{4, 5}, {0, 2}]
    assert source.tolist() == [6, 1]


def test_the_driving_track_moves_most_and_sources_are_typical_of_theirs():
    values = np.array([0, 1, 0, 5, 9, 7, 0, 40, 80])[:, None]
    seen = seen_as(np.zeros(9), np.zeros(9), np.repeat([0, 1, 2], 3), values)
    driving, sources = driving_and_sources(seen, 2, 2)
    assert driving.tolist() == [6, 8]
    assert sources.tolist() == [0, 5]
    alone = seen_as(np.zeros(3), np.zeros(3), [0, 0, 0])
    with pytest.raises(UserError, match="one test identity only"):
        driving_and_sources(alone, 2, 2)


def test_pairs_are_two_frames_of_one_track_and_the_same_each_time():
    pool = Pool(random_frames(12), np.repeat(np.arange(4), 3))
    source, target = random_pairs(pool, 3)
    assert (source != target).all()
    assert (source // 3 == target // 3).all()
    assert len(set(source // 3)) == 3
    np.testing.assert_array_equal(random_pairs(pool, 3), [source, target])


# -- figures ----------------------------------------------------------------------------------------------------------


def test_every_figure_is_drawn_and_says_what_it_shows(models):
    pool = Pool(random_frames(24), np.repeat(np.arange(4), 6))
    for name, draw in DRAWINGS.items():
        drawn = draw(see(pool, models[3]))
        assert len(drawn.figure.axes) > 10, name
        assert len(drawn.alt) > 40
        assert len(drawn.caption) > 60
    with pytest.raises(UserError, match="takes one source, which is trusted everywhere"):
        draw_confidence(see(pool, models[1]))


def shown_in(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_an_interpolation_stands_between_its_ends():
    sources, a, b, *steps = random_frames(14).reshape(7, 2, SIZE, SIZE, 3)
    figure = interpolation_panels(sources, np.stack((a, b)), np.stack(steps), [0, 1 / 3, 2 / 3, 1])
    axes = np.array(figure.axes).reshape(2, 7)
    assert [each.get_title() for each in axes[0]] == ["source", "frame a", "0.00", "0.33", "0.67", "1.00", "frame b"]
    np.testing.assert_array_equal(shown_in(axes[1, 3]), steps[1][1])
    np.testing.assert_array_equal(shown_in(axes[1, 6]), b[1])


def test_a_grid_of_transfer_has_sources_as_rows():
    frames = random_frames(11)
    made = frames[5:].reshape(2, 3, SIZE, SIZE, 3)
    axes = np.array(transfer_grid(frames[:2], frames[2:5], made).axes).reshape(3, 4)
    np.testing.assert_array_equal(shown_in(axes[0, 2]), frames[3])
    np.testing.assert_array_equal(shown_in(axes[2, 0]), frames[1])
    np.testing.assert_array_equal(shown_in(axes[2, 3]), made[1, 2])
