"""Which faces and frames are searched and shown, and how they are drawn."""

import numpy as np
import pytest
from small_shards import write_small_shards

from fabnet.figures.embedding_map import embedding_map
from fabnet.figures.sheets import retrieval_rows
from fabnet.frames.store import FrameStore
from fabnet.retrieval.exact import unit
from fabnet.retrieval.retrieve import project
from fabnet.retrieval.samples import frames_of, one_of_each, origins, sample, spread


def test_a_sample_is_different_rows_in_an_order_of_the_seed():
    rows = sample(50, 20, seed=3)
    assert len(set(rows.tolist())) == 20
    assert (rows == sample(50, 20, seed=3)).all()
    assert (rows != sample(50, 20, seed=4)).any()
    assert sorted(sample(5, 20, seed=0)) == list(range(5))
    # Each row is as likely as another: 400 samples of 5 of 10 hold each about 200 times.
    counts = np.bincount(np.concatenate([sample(10, 5, seed) for seed in range(400)]), minlength=10)
    assert np.abs(counts - 200).max() < 45


def test_frames_are_those_of_the_people_asked_for(tmp_path):
    store = FrameStore(write_small_shards(tmp_path) / "frames")
    rows = frames_of(store, ["p5", "p1"], 100, seed=0)
    named = origins(store, rows)
    assert len(rows) == 16
    expected = {(person, f"{person}/v{video}", f"{person}/v{video}/c/0") for person in ("p1", "p5") for video in (0, 1)}
    assert set(zip(named["identity"], named["video"], named["track"], strict=True)) == expected
    # Each name is that of its own row.
    for row, track in zip(rows, named["track"], strict=True):
        assert f": {track}/" in store.member(row)
    assert len(frames_of(store, ["p5"], 3, seed=0)) == 3
    assert len(frames_of(store, [], 3, seed=0)) == 0


def test_who_is_shown_lies_evenly_and_is_one_face_a_person():
    values = np.linspace(-40, 40, 81)
    rows = spread(values, np.arange(81), 4)
    assert values[rows].tolist() == [-30, -10, 10, 30]
    people = np.arange(81) // 30  # three of them
    rows = spread(values, people, 4)
    assert len(rows) == 3
    assert len(set(people[rows])) == 3


def test_one_of_each_kind_is_the_least_of_somebody_else():
    kind, person = np.array([2, 0, 0, 2, 1, 1, 3]), np.array([0, 1, 2, 1, 1, 1, 4])
    value = np.array([9.0, 3.0, 5.0, 1.0, 0.0, np.nan, np.nan])
    # Kind 0 takes person 1, so that nobody of kind 1 is left and kind 2 takes its second best; of 3 nothing is known.
    assert one_of_each(kind, value, person).tolist() == [1, 0]


def test_rows_frame_the_query_and_its_own_person():
    random = np.random.default_rng(0)
    queries = random.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = [random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (3, 1)]
    same = [np.array([False, True, False]), np.array([False])]
    captions = [["q0", "a", "b", "c"], ["q1", "d"]]
    figure = retrieval_rows(queries, found, same, captions, columns=3)
    assert [axes.get_xlabel() for axes in figure.axes] == ["q0", "a", "b", "c", "q1", "d"]
    framed = [bool(axes.spines["left"].get_visible()) for axes in figure.axes]
    assert framed == [True, False, True, False, True, False]
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), found[0][1])
    places = [axes.get_position() for axes in figure.axes]
    assert all(place.x1 <= 1 and place.y0 >= 0 for place in places)


def test_a_map_keeps_groups_apart():
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 20)) * 4
    group = np.arange(90) % 3
    vectors = unit(centres[group] + 0.3 * random.normal(size=(90, 20)))
    places = project(vectors, 30, seed=0)
    assert places.shape == (90, 2)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (group[apart.argmin(axis=1)] == group).all()
    np.testing.assert_array_equal(places, project(vectors, 30, seed=0))
    assert project(vectors[:4], 30, seed=0) is None


@pytest.mark.filterwarnings("error")
def test_a_map_has_a_panel_each_and_says_what_is_not_known():
    random = np.random.default_rng(0)
    places, people = random.normal(size=(60, 2)), [f"p{number % 12:02d}" for number in range(60)]
    figure = embedding_map(places, random.uniform(-40, 40, 60), ["happy", "sad"] * 30, people)
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["by yaw", "by expression", "by identity (8 of 12 identities; others grey)"]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["happy", "sad"]
    assert figure.axes[3].get_xlabel() == "yaw (degrees)"
    bare = embedding_map(places, None, None, people[:60])
    assert [axes.texts[0].get_text() for axes in bare.axes[:2]] == [
        "the labels have no yaw",
        "the labels have no expression",
    ]
