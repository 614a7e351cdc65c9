"""Exact search against a naive one, in float64 and all at once."""

import numpy as np
import pytest

from fabnet.errors import UserError
from fabnet.retrieval import exact
from fabnet.retrieval.exact import Alike, alike, search, unit


@pytest.fixture(params=[(16, 16), (2048, 32768)], ids=["blocks of 16", "one block"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(exact, "_ROWS", request.param)
    monkeypatch.setattr(exact, "_QUERIES", 13)


def vectors(count, dimension=8, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def naive(gallery, queries, k, left_out=()):
    cosine = queries.astype(np.float64) @ gallery.astype(np.float64).T
    for pairs in left_out:
        same = (pairs.queries[:, None] == pairs.gallery) & (pairs.queries[:, None] >= 0)
        cosine[same] = -np.inf
    rows = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    similarity = np.take_along_axis(cosine, rows, axis=1)
    return np.where(np.isfinite(similarity), rows, -1), similarity


@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.usefixtures("blocks")
def test_as_a_naive_search(k, dtype):
    gallery, queries = vectors(333).astype(dtype), vectors(50, seed=1)
    found = search(gallery, queries, k)
    rows, similarity = naive(gallery, queries, k)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-6)


@pytest.mark.parametrize("groups", [3, 40, 400])
@pytest.mark.usefixtures("blocks")
def test_rows_of_the_query_s_group_are_left_out(groups):
    random = np.random.default_rng(groups)
    gallery, queries = vectors(333), vectors(50, seed=1)
    pairs = [Alike(random.integers(-1, groups, 50), random.integers(-1, groups, 333)) for _ in range(2)]
    found = search(gallery, queries, 9, pairs)
    rows, similarity = naive(gallery, queries, 9, pairs)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-6)


@pytest.mark.usefixtures("blocks")
def test_equally_near_rows_come_in_their_order():
    queries = np.eye(4, dtype=np.float32)
    gallery = np.tile(queries, (30, 1))  # row i is like query i % 4
    found = search(gallery, queries, 20)
    np.testing.assert_array_equal(found.rows, [[q + 4 * n for n in range(20)] for q in range(4)])
    assert (found.similarity == 1).all()


@pytest.mark.usefixtures("blocks")
def test_increasing_similarity_is_the_worst_order_and_still_exact():
    angles = np.linspace(np.pi, 0, 300)
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = search(gallery, np.array([[1, 0]], np.float32), 5)
    np.testing.assert_array_equal(found.rows, [[299, 298, 297, 296, 295]])


@pytest.mark.usefixtures("blocks")
def test_too_few_rows_that_count_are_told_by_minus_one():
    gallery = vectors(40)
    groups = np.zeros(40, np.int64)
    groups[[5, 30]] = 1
    found = search(gallery, gallery[:1], 4, [Alike(np.zeros(1, np.int64), groups)])
    assert set(found.rows[0, :2]) == {5, 30}
    np.testing.assert_array_equal(found.rows[0, 2:], -1)
    assert np.isneginf(found.similarity[0, 2:]).all()


def test_unknown_names_are_like_nothing():
    pairs = alike(["a", None, "", "b", float("nan")], ["b", None, "", "a", "a", float("nan")])
    same = (pairs.queries[:, None] == pairs.gallery) & (pairs.queries[:, None] >= 0)
    assert {tuple(pair) for pair in np.argwhere(same).tolist()} == {(0, 3), (0, 4), (3, 0)}


def test_unit_keeps_what_has_no_direction():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


def test_bad_galleries_and_queries_are_refused():
    gallery = vectors(20)
    with pytest.raises(UserError, match="empty"):
        search(gallery[:0], gallery[:1], 1)
    with pytest.raises(UserError, match="21 neighbours asked for, but the gallery has 20 rows"):
        search(gallery, gallery[:1], 21)
    damaged = gallery.copy()
    damaged[7, 3] = np.nan
    with pytest.raises(UserError, match="rows of the gallery from 0 on holds a number that is not finite"):
        search(damaged, gallery[:1], 1)
    with pytest.raises(UserError, match="query holds a number that is not finite"):
        search(gallery, damaged[7:8], 1)
    with pytest.raises(ValueError, match="names"):
        search(gallery, gallery[:1], 1, [Alike(np.zeros(1, np.int64), np.zeros(3, np.int64))])
    with pytest.raises(ValueError, match="neighbours of"):
        search(gallery, gallery[:1, :5], 1)


def test_no_queries_have_no_neighbours():
    assert search(vectors(20), vectors(0), 3).rows.shape == (0, 3)


@pytest.mark.parametrize("queries", [1, 10, 300, 5000])
@pytest.mark.parametrize("count", [1, 17, 5000, 10_000_000])
def test_blocks_are_whole_groups_and_of_bounded_size(queries, count):
    size = exact.block_size(queries, count)
    assert size % 16 == 0
    assert 16 <= size <= 131072
    assert size < count + 16
