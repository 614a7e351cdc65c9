"""The study of whether crops tell people apart, against scikit-learn, SciPy and people who are easy to tell."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from studies.other_people import Track, auc, by_person, nearest, patterns, study


def test_the_area_is_scikit_learns():
    rng = np.random.default_rng(0)
    same, other = rng.normal(0, 1, 40).round(1), rng.normal(1, 1, 60).round(1)  # with ties
    weights = by_person([f"{number % 7}" for number in range(40)])
    labels, scores = [0] * 40 + [1] * 60, np.concatenate([same, other])
    expected = roc_auc_score(labels, scores, sample_weight=[*weights, *[1] * 60])
    assert auc(same, weights, other) == pytest.approx(expected)
    assert weights.sum() == pytest.approx(7)


def test_the_nearest_rows_are_scipys():
    one, other = (np.random.default_rng(seed).normal(size=(5, 9)) for seed in (0, 1))
    assert nearest(one, other) == pytest.approx(cdist(one, other).min())


def test_patterns_by_hand():
    """All neighbours of a pixel of a plain picture are as bright: the code of eight ones, one in each block."""
    plain = patterns(np.full((128, 128), 90, np.uint8)).reshape(49, 59)
    assert (np.sort(plain, axis=1)[:, -1] == 1).all()
    assert plain.sum() == 49
    noise = patterns(np.random.default_rng(0).integers(0, 256, (96, 96), dtype=np.uint8)).reshape(49, 59)
    np.testing.assert_allclose((noise**2).sum(axis=1), 1, rtol=1e-6)
    dark = np.random.default_rng(1).integers(0, 200, (96, 96), dtype=np.uint8)
    np.testing.assert_array_equal(patterns(dark + 40), patterns(dark))


def test_people_who_are_easy_to_tell_are_told():
    rng = np.random.default_rng(0)
    tracks = []
    for person in range(12):
        face = rng.normal(0, 3, 40)
        for clip, _ in ((0, 0), (0, 1), (1, 0)):
            rows = (face + rng.normal(0, 0.5, (6, 40))).astype(np.float32)
            colours = np.full((6, 16, 16, 3), 20 * person, np.int16)
            tracks.append(Track(f"p{person}", f"p{person}/{clip}", colours, rows, rows))
    told = study(tracks)
    assert told["people"] == 12
    for scores in told["measures"].values():
        assert scores["other_clip"]["auc"] == scores["same_clip"]["auc"] == 1
        assert scores["strangers_found"] == 1
        assert "together_found" not in scores
