"""Draws, pairs and augmentation are pure functions of (seed, index) with the right distributions."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch.nn import functional

from fabnet.errors import UserError
from fabnet.frames.augment import Augmentation, to_float
from fabnet.frames.pairs import PairSampler, Views, different, keys, uniform

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(bits):
    bits = np.asarray(bits, dtype=np.uint64) + GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@np.errstate(over="ignore")
def uniform_of_unsigned(seed, index, slot):
    """SplitMix64 over a counter, with unsigned numbers."""
    key = mixed(np.uint64(seed) * GOLDEN + np.uint64(slot) + np.uint64(1))
    bits = mixed(mixed(index.astype(np.uint64) * GOLDEN + key) ^ key)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def frames_one_by_one(length, draws):
    """As `different` says, for one track, in plain Python."""
    chosen = []
    for i, draw in enumerate(draws):
        left = length - i
        number = int(draw * (left if left > 0 else length))
        for taken in sorted(chosen):
            number += left > 0 and number >= taken
        chosen.append(number)
    return chosen


@given(st.integers(0, 2**32 - 1), st.integers(0, 2000), st.integers(0, 2**52))
def test_draws_are_those_of_unsigned_arithmetic(seed, slot, first):
    """SplitMix64's own first numbers of seed 1234567 are known: 6457827717110365317, 3203168211198807973, ..."""
    index = first + np.arange(20)
    ours = uniform(keys(seed, (slot, 0)), torch.from_numpy(index))
    np.testing.assert_array_equal(ours[0], uniform_of_unsigned(seed, index, slot))
    with np.errstate(over="ignore"):
        published = [int(mixed(np.uint64(1234567) + np.uint64(n) * GOLDEN)) for n in range(2)]
    assert published == [6457827717110365317, 3203168211198807973]


def test_uniform_is_uniform_and_slots_are_independent():
    index = torch.arange(20_000)
    (first, second), (other_seed,) = uniform(keys(7, (0, 1)), index).numpy(), uniform(keys(8, (0,)), index).numpy()
    for draws in (first, second, other_seed):
        assert stats.kstest(draws, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first, other_seed)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_frames_are_different_until_they_run_out(lengths, count, seed):
    draws = uniform(keys(seed, range(count)), torch.arange(len(lengths)))
    chosen, mask = (value.numpy() for value in different(torch.tensor(lengths), draws))
    assert (chosen >= 0).all()
    assert (chosen < np.array(lengths)[:, None]).all()
    for row, valid, available, drawn in zip(chosen, mask, lengths, draws.T.tolist(), strict=True):
        assert valid.sum() == min(count, available)
        assert len(set(row[valid])) == valid.sum()
        assert row.tolist() == frames_one_by_one(available, drawn)


def test_every_ordered_pair_is_as_likely():
    chosen, _ = different(torch.full((24_000,), 4), uniform(keys(0, (0, 1)), torch.arange(24_000)))
    counts = np.zeros((4, 4))
    np.add.at(counts, (chosen[:, 0].numpy(), chosen[:, 1].numpy()), 1)
    assert (np.diag(counts) == 0).all()
    assert stats.chisquare(counts[~np.eye(4, dtype=bool)]).pvalue > 1e-3


def sampler(views=2, seed=1):
    # Identity 5 has two tracks, identity 9 one.
    return PairSampler(np.array([0, 10, 20]), np.array([10, 10, 4]), np.array([5, 9, 5]), views, seed)


def test_an_epoch_visits_every_identity_once_and_stays_in_the_track():
    drawn = sampler().draw(torch.arange(2000)).rows.numpy()
    track = np.searchsorted([0, 10, 20, 24], drawn, side="right") - 1
    assert (track[:, 0] == track[:, 1]).all()
    identity = np.array([5, 9, 5])[track[:, 0]].reshape(-1, 2)
    assert (np.sort(identity, axis=1) == [5, 9]).all()
    assert set(drawn[:, 0]) == set(range(24))
    of_five = track[:, 0][track[:, 0] != 1]
    assert abs((of_five == 0).mean() - 0.5) < 0.06


def test_a_track_with_fewer_frames_than_views_is_padded():
    """Every frame it has is among the views, the target first, and the mask tells the padding."""
    short = PairSampler(np.array([0, 3, 10]), np.array([3, 7, 2]), np.arange(3), 4, 0)
    assert short.pads
    assert not sampler().pads
    views = Views(*(value.numpy() for value in short.draw(torch.arange(600))))
    real = np.array([len(set(row[mask])) for row, mask in zip(views.rows, views.mask, strict=True)])
    length = np.select([views.rows[:, 0] < 3, views.rows[:, 0] < 10], [3, 7], 2)
    np.testing.assert_array_equal(views.mask.sum(axis=1), np.minimum(length, 4))
    np.testing.assert_array_equal(real, np.minimum(length, 4))
    assert views.mask[:, :2].all()
    track = np.searchsorted([0, 3, 10, 12], views.rows, side="right")
    assert (track == track[:, :1]).all()


def test_tracks_of_one_frame_hold_no_pair():
    start, length, identity = np.array([0, 1, 5, 6]), np.array([1, 4, 1, 4]), np.array([0, 0, 1, 2])
    drawn = PairSampler(start, length, identity, 2, 0)
    rows = drawn.draw(torch.arange(400)).rows.numpy()
    assert set(rows.ravel()) == {1, 2, 3, 4, 6, 7, 8, 9}
    assert drawn.identities == 2
    assert set(PairSampler(start, length, identity, 1, 0).draw(torch.arange(400)).rows.ravel().tolist()) == set(
        range(10)
    )
    with pytest.raises(UserError, match="none of 2 tracks has two different frames"):
        PairSampler(np.array([0, 1]), np.array([1, 1]), np.array([0, 1]), 2, 0)


def test_draws_do_not_depend_on_the_batch():
    whole = sampler().draw(torch.arange(64)).rows
    parts = torch.cat([sampler().draw(torch.arange(first, first + 16)).rows for first in (0, 16, 32, 48)])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, sampler(seed=2).draw(torch.arange(64)).rows)


def test_to_float_is_channels_first_in_minus_one_to_one():
    images = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    torch.testing.assert_close(to_float(images)[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))


def augmented(views, seed=0, mirror=False, jitter=0.0, turn=0.0):
    change = Augmentation(seed, len(views), mirror, jitter, turn, torch.device("cpu"))
    return change(views, torch.arange(views.shape[1]))


def test_flip_mirrors_whole_samples_half_of_the_time():
    views = torch.arange(4.0).expand(2, 2000, 1, 1, 4)
    mirrored = augmented(views, 3, mirror=True)[..., 0, 0, 0] == 3
    assert torch.equal(mirrored[0], mirrored[1])
    assert torch.equal(mirrored[0], torch.from_numpy(uniform_of_unsigned(3, np.arange(2000), 1) < 0.5))
    assert abs(mirrored[0].double().mean() - 0.5) < 0.05
    torch.testing.assert_close(augmented(augmented(views, 3, mirror=True), 3, mirror=True), views)


def test_turns_are_a_library_s_rotations_about_the_middle():
    pictures = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3, 5, 5))).float()
    smooth = functional.interpolate(pictures, size=33, mode="bicubic", align_corners=True)
    turned = augmented(smooth.expand(2, -1, -1, -1, -1), seed=4, turn=40.0)
    drawn = [uniform_of_unsigned(4, np.arange(6), 5 + 16 * (view + 1)) for view in range(2)]
    for view, sample in itertools.product(range(2), range(6)):
        degrees = 40 * (2 * drawn[view][sample] - 1)
        # SciPy's positive angles are counter-clockwise where rows go down.
        options = {"axes": (1, 2), "reshape": False, "order": 1, "mode": "nearest"}
        expected = ndimage.rotate(smooth[sample].numpy(), -degrees, **options)
        np.testing.assert_allclose(turned[view, sample].numpy(), expected, atol=1e-4)
    assert max(abs(2 * drawn[0] - 1)) > 0.5


def test_jitter_and_turn_leave_each_other_s_draws():
    ramp = torch.linspace(-1, 1, 17).expand(2, 50, 3, 17, 17)
    middle = augmented(ramp, jitter=0.2, turn=30.0)[..., 8, 8]
    torch.testing.assert_close(middle, augmented(ramp, jitter=0.2)[..., 8, 8], atol=1e-5, rtol=0)


def test_jitter_crops_squares_inside_the_frame():
    """A ramp stays a ramp: its ends tell the crop's place and size."""
    ramp = torch.linspace(-1, 1, 16)
    x = ramp.expand(2, 500, 1, 16, 16)
    y = ramp[:, None].expand(2, 500, 1, 16, 16)
    crops = augmented(torch.cat((x, y, x), dim=2), jitter=0.25)
    left, right = crops[:, :, 0, 0, 0], crops[:, :, 0, 0, -1]
    top, bottom = crops[:, :, 1, 0, 0], crops[:, :, 1, -1, 0]
    torch.testing.assert_close(right - left, bottom - top, atol=1e-4, rtol=0)
    assert (left >= -1 - 1e-5).all()
    assert (right <= 1 + 1e-5).all()
    side = (right - left) / 2
    assert side.min() >= 0.75 - 1e-4
    assert side.min() < 0.76
    assert side.max() > 0.99
    assert not torch.allclose(left[0], left[1])
