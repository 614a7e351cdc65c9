"""Tracks and their smoothed boxes, against scipy's filter and naive formulas."""

import math
from dataclasses import astuple
from functools import partial
from itertools import product

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from whole_sections import tracking_params

from fabnet.video.appearance import change, changed, surroundings
from fabnet.video.crop import Box
from fabnet.video.detect import Detection
from fabnet.video.tracker import BoxPath, Tracker, overlap


def edges(face):
    return np.array(astuple(face.box))


def path_of(times, rows, smoothing_s, scores=None):
    path = BoxPath(smoothing_s)
    for time, row, score in zip(times, rows, scores or [0.5] * len(times), strict=True):
        path.add(time, Detection(Box(*row), score))
    path.close()
    return path


# -- smoothing ----------------------------------------------------------------------------------------------------


def test_far_from_the_ends_it_is_the_gaussian_filter():
    rng = np.random.default_rng(0)
    times, sigma = np.arange(60) * 0.2, 0.5
    rows = np.cumsum(rng.normal(0, 3, (60, 4)), axis=0) + np.array([100, 100, 200, 200])
    path = path_of(times.tolist(), rows.tolist(), sigma)
    expected = gaussian_filter1d(rows, sigma / 0.2, axis=0, radius=7)  # 3 sigma are 7.5 steps
    smoothed = np.stack([edges(path.at(time)) for time in times.tolist()])
    np.testing.assert_allclose(smoothed[7:-7], expected[7:-7], rtol=1e-12)


def test_smoothing_brings_noisy_boxes_closer_to_the_path():
    rng = np.random.default_rng(1)
    times = np.arange(100) * 0.2
    x, y = 200 + 60 * np.sin(times / 3), 150 + 20 * times
    true = np.stack([x - 50, y - 50, x + 50, y + 50], axis=1)
    noisy = true + rng.normal(0, 3, true.shape)
    path = path_of(times.tolist(), noisy.tolist(), 0.5)
    error = np.stack([edges(path.at(time)) for time in times.tolist()]) - true
    assert np.abs(error).mean() < 0.5 * np.abs(noisy - true).mean()
    assert np.sqrt((error[:5] ** 2).mean()) < np.sqrt(((noisy - true) ** 2).mean())


def test_a_straight_path_stays_what_it_is():
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0, 6, 25))
    rows = np.outer(times, [3.0, -2.0, 4.0, 1.0]) + np.array([0, 50, 90, 120])
    path = path_of(times.tolist(), rows.tolist(), 0.4)
    for time in rng.uniform(times[0], times[-1], 40).tolist():
        np.testing.assert_allclose(edges(path.at(time)), np.array([3, -2, 4, 1]) * time + [0, 50, 90, 120], atol=1e-9)
    np.testing.assert_allclose(edges(path.at(-1.0)), rows[0], atol=1e-9)
    np.testing.assert_allclose(edges(path.at(7.0)), rows[-1], atol=1e-9)


def test_without_smoothing_boxes_are_interpolated():
    times, rows = [0.0, 1.0, 3.0], [[0, 0, 4, 4], [2, 2, 6, 6], [4, 0, 8, 4]]
    path = path_of(times, rows, 0.0)
    for time in (0.0, 0.3, 1.0, 2.5, 3.0):
        assert edges(path.at(time)) == pytest.approx([np.interp(time, times, np.array(rows)[:, i]) for i in range(4)])


@pytest.mark.parametrize("smoothing_s", [0.0, 0.5])
def test_scores_are_interpolated_and_never_smoothed(smoothing_s):
    rng = np.random.default_rng(4)
    times, scores = np.cumsum(rng.uniform(0.1, 0.5, 30)).tolist(), rng.uniform(0.3, 1, 30).tolist()
    path = path_of(times, rng.normal(100, 5, (30, 4)).tolist(), smoothing_s, scores)
    for time in (-1.0, *times, *rng.uniform(times[0], times[-1], 50).tolist(), times[-1] + 1):
        assert path.at(time).score == pytest.approx(np.interp(time, times, scores))


def test_what_is_read_early_is_what_is_read_at_the_end():
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.05, 0.6, 200)).tolist()
    rows, scores = rng.normal(100, 5, (200, 4)).tolist(), rng.uniform(0, 1, 200).tolist()
    whole = path_of(times, rows, 0.3, scores)
    path, done = BoxPath(0.3), times[0]
    for time, row, score in zip(times, rows, scores, strict=True):
        path.add(time, Detection(Box(*row), score))
        final = path.settle(time)
        for at in np.linspace(done, final, 5).tolist() if final > done else []:
            assert path.at(at) == whole.at(at)
        done = max(done, final)
        path.forget(done)
        with pytest.raises(ValueError, match="not final"):
            path.at(time)
        assert len(path) < 40  # flat, however long the track
    assert done > times[-1] - 1.6


def test_boxes_come_by_increasing_time():
    path = path_of([0.0, 1.0], [[0, 0, 1, 1]] * 2, 0.5)
    with pytest.raises(ValueError, match="too late"):
        path.add(2.0, at(0))
    path = BoxPath(0.5)
    path.add(1.0, at(0))
    with pytest.raises(ValueError, match="too late"):
        path.add(1.0, at(0))


# -- association --------------------------------------------------------------------------------------------------


def at(x, y=50.0, side=20.0, score=50.0):
    return Detection(Box(x, y, x + side, y + side), score)


def test_overlap_against_counted_pixels():
    rng = np.random.default_rng(4)

    def random_boxes():
        corners = rng.integers(0, 20, (6, 2))
        return [Box(*map(float, (*corner, *(corner + rng.integers(1, 15, 2))))) for corner in corners]

    def pixels(box):
        return {(x, y) for x in range(int(box.left), int(box.right)) for y in range(int(box.top), int(box.bottom))}

    ones, others = random_boxes(), random_boxes()
    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for b in others] for a in ones]
    np.testing.assert_allclose(overlap(ones, others), expected)


def test_two_faces_side_by_side_stay_two():
    tracker = Tracker(tracking_params())
    tracker.look(0.0, [at(0), at(100)])
    one, other = tracker.tracks
    for step in range(1, 10):
        found = [at(100 - 3 * step), at(3 * step)]
        assert tracker.look(0.2 * step, found if step % 2 else found[::-1]) == []
    assert tracker.tracks == [one, other]
    assert (one.path.last.left, other.path.last.left) == (27, 73)
    assert one.found == other.found == one.attempts == 10


def test_pairs_maximise_all_overlaps_together():
    tracker = Tracker(tracking_params(min_overlap=0.1))
    tracker.look(0.0, [at(0), at(12)])
    one, other = tracker.tracks
    # The greedy choice would be 12 -> 7, which leaves nothing to 0.
    tracker.look(0.2, [at(7), at(19)])
    assert (one.path.last.left, other.path.last.left) == (7, 19)


def test_a_jump_by_half_a_side_is_followed_from_one_look_to_the_next_only():
    for looks, tracks in (([at(0), at(14)], 1), ([at(0), None, at(14)], 2), ([at(0), at(30)], 2)):
        tracker = Tracker(tracking_params())
        for step, face in enumerate(looks):
            tracker.look(0.2 * step, [face] if face else [])
        assert len(tracker.tracks) == tracks


def test_an_unseen_track_ends_after_the_gap_and_half_way_to_the_next_look():
    tracker = Tracker(tracking_params(max_gap_s=1.0))
    tracker.look(0.0, [])
    tracker.look(0.2, [at(0)])
    (track,) = tracker.tracks
    assert track.start_s == pytest.approx(0.1)
    ended = [tracker.look(0.2 * step, []) for step in range(2, 8)]
    assert [len(tracks) for tracks in ended] == [0, 0, 0, 0, 1, 0]  # at 1.2 s
    assert track.end_s == pytest.approx(0.3)
    assert tracker.tracks == []


def test_a_gap_is_bridged_only_up_to_its_limit():
    for gap, tracks in ((0.9, 1), (1.2, 2)):
        tracker = Tracker(tracking_params(max_gap_s=1.0))
        tracker.look(0.0, [at(0)])
        tracker.look(0.5, [])
        ended = tracker.look(gap, [at(0)])
        assert len(ended) + len(tracker.tracks) == tracks
    assert ended[0].end_s == 0.25


def test_looks_far_apart_that_find_the_face_are_no_gap():
    tracker = Tracker(tracking_params(max_gap_s=1.0))
    for second in range(0, 30, 3):
        assert tracker.look(float(second), [at(0)]) == []
    assert len(tracker.tracks) == 1


def test_a_cut_ends_all_and_the_next_shot_begins_where_it_begins():
    tracker = Tracker(tracking_params())
    tracker.look(0.0, [at(0), at(100)])
    ended = tracker.cut()
    assert [track.end_s for track in ended] == [math.inf, math.inf]
    tracker.look(0.4, [at(0)])
    assert tracker.tracks[0].start_s == -math.inf


# -- what lies around a face --------------------------------------------------------------------------------------


def scene(seed, shift=0, noise=0):
    """A picture of blurred coloured noise, moved, with finer noise over it."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8), (200, 120), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(image, shift, axis=1).astype(int) + rng.integers(-noise, noise + 1, image.shape)
    return np.clip(moved, 0, 255).astype(np.uint8)


def naive_change(one, other):
    """Cell by cell: the least difference to any cell within reach, on average; the greater of both ways."""
    ways = []
    for a, b in ((one, other), (other, one)):
        least = []
        for y in range(16):
            for x in range(16):
                steps = product(range(-5, 6), repeat=2)
                near = [(min(max(y + dy, 0), 15), min(max(x + dx, 0), 15)) for dy, dx in steps]
                least.append(min(sum(abs(int(p) - int(q)) for p, q in zip(a[y, x], b[at], strict=True)) for at in near))
        ways.append(np.mean(least))
    return max(ways)


def test_change_against_a_naive_loop():
    box = Box(60, 40, 100, 80)
    one, other = surroundings(scene(1), box), surroundings(scene(2), box)
    assert one.shape == (16, 16, 3)
    assert change(one, other) == pytest.approx(naive_change(one, other))
    assert change(one, other) == change(other, one)
    assert change(one, one) == 0


def test_motion_and_noise_change_little_and_another_scene_much():
    box = Box(60, 40, 100, 80)
    one = surroundings(scene(1), box)
    for shift, noise in ((0, 10), (10, 0), (-10, 3)):
        assert change(one, surroundings(scene(1, shift, noise), box)) < 6
    assert change(one, surroundings(scene(2), box)) > 10


def test_surroundings_beyond_the_picture():
    image = scene(3)
    for box in (Box(-10, -10, 30, 30), Box(180, 100, 220, 140), Box(0, 0, 200, 120)):
        assert surroundings(image, box).shape == (16, 16, 3)
    assert not surroundings(image, Box(400, 400, 420, 420)).any()


def test_what_is_much_depends_on_what_was_before():
    assert changed(6.0, 0.2)
    assert not changed(5.0, 0.2)
    assert changed(4.0, 0.2, [0.5, 0.4])  # of a face that sat still
    assert not changed(6.0, 0.2, [1.0, 4.0])  # of one that moves
    assert not changed(2.5, 0.2, [0.0])
    assert changed(10.0, 1.0, [0.5])
    assert not changed(9.0, 1.0, [0.5])


def views(*seeds):
    """What lies around a box in pictures of these scenes."""
    return [partial(surroundings, scene(seed)) for seed in seeds]


def test_another_person_in_the_same_place_is_another_track():
    tracker = Tracker(tracking_params())
    first, second = views(1, 2)
    for step in range(5):
        assert tracker.look(0.2 * step, [at(60, side=40)], first) == []
    (before,) = tracker.tracks
    assert tracker.look(1.0, [at(60, side=40)], second) == [before]
    assert before.end_s == pytest.approx(0.8)  # whose the frames between are, nobody knows
    assert before.replaced
    (after,) = tracker.tracks
    assert 0.99 < after.start_s < 1.0
    assert tracker.look(1.2, [at(60, side=40)], second) == []
    assert (before.found, after.found) == (5, 2)
    assert not after.replaced


def test_a_face_that_moves_before_a_busy_background_stays_one():
    tracker = Tracker(tracking_params())
    ended = [
        track
        for step, shown in enumerate(views(*range(1, 9)))  # all of it is new at every look
        for track in tracker.look(0.2 * step, [at(60, side=40)], shown)
    ]
    assert [track.found for track in ended] == [1]
    assert [track.found for track in tracker.tracks] == [7]


def test_a_face_that_goes_with_its_scene_ends_where_it_was_seen():
    tracker = Tracker(tracking_params(max_gap_s=0.5))
    first, second = views(1, 2)
    tracker.look(0.0, [at(60, side=40)], first)
    tracker.look(0.2, [at(60, side=40)], first)
    ended = [track for step in range(2, 6) for track in tracker.look(0.2 * step, [], second)]
    assert [track.end_s for track in ended] == [0.2]
    tracker.look(1.2, [at(60, side=40)], second)
    ended = [track for step in range(7, 11) for track in tracker.look(0.2 * step, [], second)]
    assert [track.end_s for track in ended] == [pytest.approx(1.3)]  # half way, where the scene stays
    assert not ended[0].replaced


def test_one_face_never_makes_two_tracks_at_once():
    nose = at(10, y=60, side=16)
    for later, stays in (([nose, nose], False), ([nose, at(2, side=40)], True)):
        tracker = Tracker(tracking_params())
        tracker.look(0.0, [at(0, side=40)])
        tracker.look(0.2, [at(0, side=40), nose])
        (face,) = tracker.tracks
        # Too small to be followed, it is another track; what is seen next decides which of them goes on.
        for step, seen in enumerate(later):
            tracker.look(0.4 + 0.2 * step, [seen])
        assert len(tracker.tracks) == 1
        assert (tracker.tracks == [face]) == stays


def test_two_faces_that_meet_stay_two():
    tracker = Tracker(tracking_params())
    tracker.look(0.0, [at(0, side=40), at(100, side=40)])
    pair = list(tracker.tracks)
    tracker.look(0.2, [at(0, side=40)])
    tracker.look(0.4, [at(0, side=40), at(118, y=70, side=40)])  # beside where the other was
    tracker.look(0.6, [at(0, side=40), at(100, side=40), at(130, y=85, side=40)])
    assert tracker.tracks[:2] == pair
