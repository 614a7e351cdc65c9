"""Samples drawn on the device that holds the frames are those that the host draws."""

import numpy as np
import pytest
import torch
from small_runs import SIZE, Blobs, Damaged

from fabnet.errors import UserError
from fabnet.frames import resident
from fabnet.frames.cache import FrameCache
from fabnet.frames.corrupt import CorruptFrames
from fabnet.frames.pairs import PairSampler
from fabnet.frames.resident import ResidentSamples
from fabnet.training.batches import Batches

START, LENGTH = np.array([0, 10, 20, 31, 40]), np.array([10, 7, 3, 2, 20])
IDENTITY = np.array([3, 1, 3, 2, 9])


def pair(views, seed, corrupt=(), limit=10, batch=16):
    """Batches that read and batches that draw, of the same samples."""
    made = []
    for loads in (False, True):
        noted = CorruptFrames(limit)
        cache = FrameCache(Damaged(set(corrupt)), START, LENGTH, SIZE, None)
        if loads:
            cache.load(noted, 2, "frames", silent=True)
        sampler = PairSampler(START, LENGTH, IDENTITY, views, seed)
        made.append(Batches(cache, sampler, batch, mirror=True, jitter=0.2, corrupt=noted))
    return made


def assert_same_batches(read, drawn, numbers):
    for number in numbers:
        one, other = (batches.finish(batches.load(number)) for batches in (read, drawn))
        assert torch.equal(one.numbers, other.numbers)
        assert torch.equal(one.views, other.views)
        assert (one.mask is None) == (other.mask is None)
        assert one.mask is None or torch.equal(one.mask, other.mask)


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 77])
def test_batches_are_the_same_over_many_epochs(views, seed, monkeypatch):
    """Four identities and batches of 16: many epochs in a batch. A table of few epochs is written again and again, and
    a resumed run begins far along."""
    monkeypatch.setattr(resident, "_LASTS", 2)
    read, drawn = pair(views, seed)
    assert_same_batches(read, drawn, [*range(40), 10**6, 3, 10**9])


def test_an_epoch_longer_than_a_batch(monkeypatch):
    monkeypatch.setattr(resident, "_LASTS", 1)
    start = np.arange(60)[::2]
    made = []
    for loads in (False, True):
        cache = FrameCache(Blobs(), start, np.full(30, 2), SIZE, None)
        if loads:
            cache.load(CorruptFrames(0), 0, "frames", silent=True)
        made.append(Batches(cache, PairSampler(start, np.full(30, 2), np.arange(30), 2, 5), 7))
    assert_same_batches(*made, range(60))


def test_corrupt_frames_are_left_out_alike():
    read, drawn = pair(2, 0, corrupt={3, 12, 13, 47})
    for number in range(60):  # reading learns of them one by one
        read.load(number)
    assert read.corrupt.rows == drawn.corrupt.rows == [3, 12, 13, 47]
    assert_same_batches(read, drawn, [*range(30), 10**7])
    drawn.check()


def test_a_sample_that_stays_corrupt_is_an_error(monkeypatch):
    """So few tries that one of many samples is left with a corrupt frame."""
    monkeypatch.setattr(resident, "_CERTAIN", 1)
    _, drawn = pair(2, 0, corrupt=set(range(10, 17)))
    for number in range(20):
        drawn.finish(drawn.load(number))
    with pytest.raises(UserError, match="no sample without a corrupt frame in 1 draws"):
        drawn.check()
    with pytest.raises(UserError, match="no sample without a corrupt frame in 1000 draws"):
        pair(2, 0, corrupt=set(range(60)), limit=99)


def test_too_many_corrupt_frames_are_found_while_they_are_loaded():
    cache = FrameCache(Damaged({3, 12, 13}), START, LENGTH, SIZE, None)
    with pytest.raises(UserError, match="passed over before it: 2, all that corrupt_limit allows"):
        cache.load(CorruptFrames(2), 2, "frames", silent=True)


def test_frames_are_loaded_once_in_pieces_with_progress(monkeypatch, capsys):
    """Each in its place, whatever tracks lie between; a corrupt one is black."""
    monkeypatch.setattr("fabnet.frames.cache._PIECE", 4 * 3 * SIZE * SIZE)
    frames = Damaged({12})
    cache = FrameCache(frames, START, LENGTH, SIZE, None)
    cache.load(CorruptFrames(1), 3, "to the GPU")
    rows = np.concatenate([np.arange(first, first + count) for first, count in zip(START, LENGTH, strict=True)])
    expected = frames.frames[rows] * (rows != 12)[:, None, None, None]
    np.testing.assert_array_equal(cache.pictures[cache.slot_of[rows]], expected)
    assert frames.decoded == len(rows) - 1
    assert "to the GPU: 42/42 frames (100 %)" in capsys.readouterr().err
    with pytest.raises(ValueError, match="cannot hold all frames"):
        FrameCache(frames, START, LENGTH, SIZE, 5 * 3 * SIZE * SIZE).load(CorruptFrames(1), 0, "x")


def test_drawing_needs_what_was_reached():
    sampler = PairSampler(START, LENGTH, IDENTITY, 2, 0)
    cache = FrameCache(Blobs(), START, LENGTH, SIZE, None)
    cache.load(CorruptFrames(0), 0, "frames", silent=True)
    samples = ResidentSamples(cache, sampler, 16, CorruptFrames(0))
    samples.reach(32)
    index = torch.arange(32, 48)
    assert torch.equal(samples.draw(index).rows, sampler.draw(index).rows)
