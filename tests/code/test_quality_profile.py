"""Summaries, histograms and drift against naive ones."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fabnet import tables
from fabnet.errors import UserError
from fabnet.files import write_json
from fabnet.quality import profile as profile_module
from fabnet.quality.profile import LEVELS, Histogram, Summary, drift, profile, read_profile, summarise
from fabnet.quality.sample import choose
from tests.data import good_data
from tests.data.good_data import PERCENT


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return good_data.make(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def split_of(base):
    table = tables.read(base.path("splits"), tables.Splits)
    return dict(zip(table["identity"], table["split"], strict=True))


# -- histogram ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_those_of_all_values_to_a_bin(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(128, 30, 20_000).clip(0, 255)
    histogram = Histogram.linear(0, 255, 510)
    for piece in np.array_split(values, 7):
        histogram.add(piece)
    np.testing.assert_allclose(histogram.quantiles(), np.quantile(values, LEVELS), atol=0.6)


def test_logarithmic_quantiles_are_exact_in_proportion():
    values = np.random.default_rng(0).lognormal(5, 1, 20_000)
    histogram = Histogram.logarithmic(1e6, 600)
    histogram.add(values)
    np.testing.assert_allclose(histogram.quantiles(), np.quantile(values, LEVELS), rtol=0.03)


def test_quantiles_of_one_value_and_of_none():
    histogram = Histogram.logarithmic(1e5, 600)
    assert np.isnan(histogram.quantiles()).all()
    histogram.add(np.full(10, 96.0))
    assert (histogram.quantiles() == 96).all()


def test_values_beyond_the_ends_count_at_the_ends():
    histogram = Histogram.linear(0, 10, 10)
    histogram.add(np.array([-5.0, 5.0, 50.0]))
    assert histogram.counts.sum() == 3
    assert histogram.counts[0] == histogram.counts[-1] == 1


# -- summary --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_summary_of_pieces_is_that_of_the_table(base, split_of, monkeypatch, rows):
    monkeypatch.setattr(profile_module, "_ROWS", rows)
    found = summarise(base.root / "frames", split_of, PERCENT)
    index = pd.read_parquet(base.path("index")).assign(side=lambda f: f["right"] - f["left"])
    by_track = index.groupby("track_id")
    tracks = found.tracks.set_index("track_id")
    assert found.rows == len(index)
    assert tracks["frames"].equals(by_track.size().rename("frames"))
    for name in ("brightness", "sharpness", "side"):
        np.testing.assert_allclose(tracks[name], by_track[name].mean())
    np.testing.assert_array_equal(tracks["darkest"], by_track["brightness"].min())
    np.testing.assert_array_equal(tracks["brightest"], by_track["brightness"].max())
    assert (index.loc[tracks["first"], "track_id"].to_numpy() == tracks.index).all()
    assert tracks["split"].tolist() == [split_of[name] for name in by_track["identity"].first()]
    people = found.identities.set_index("identity")
    assert people["tracks"].equals(index.groupby("identity")["track_id"].nunique().rename("tracks"))
    assert people["frames"].equals(index.groupby("identity").size().rename("frames"))
    assert found.histograms["brightness"].counts.sum() == len(index)
    assert (people["clips_crowded"] == 0).all()


@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_clips_with_two_tracks_of_a_person_at_once(tmp_path, monkeypatch, rows):
    """By hand: ann's clip a has two at once, b one after another; one clip shows bob and cy at once, who are two."""
    monkeypatch.setattr(profile_module, "_ROWS", rows)
    spans = [
        ("ann/a/0", "a", 0, 5),
        ("ann/a/1", "a", 6, 8),
        ("ann/a/2", "a", 8, 9),
        ("ann/b/0", "b", 0, 4),
        ("ann/b/1", "b", 5, 9),
        ("bob/c/0", "c", 0, 9),
        ("cy/c/0", "c", 0, 9),
    ]
    columns = {"track_id": [], "identity": [], "clip": [], "time_s": []}
    for track, clip, first, last in spans:
        for second in range(first, last + 1):
            for name, value in zip(columns, (track, track.split("/")[0], clip, float(second)), strict=True):
                columns[name].append(value)
    pq.write_table(pa.table(columns), tmp_path / "index.parquet")
    assert profile_module._clips_crowded(tmp_path / "index.parquet").to_dict() == {"ann": 1}


def test_shares_are_measured_beyond_rounding(base, split_of):
    even = summarise(base.root / "frames", split_of, PERCENT).splits.set_index("split")
    assert (even["identities_off_pct"] == 0).all()  # 9, 2 and 1 of 12 are as near to 75, 15 and 10 as can be
    moved = {**split_of, next(name for name, split in split_of.items() if split == "train"): "test"}
    off = summarise(base.root / "frames", moved, PERCENT).splits.set_index("split")["identities_off_pct"]
    assert off.to_dict() == pytest.approx({"train": 100 / 12, "validation": 0, "test": 100 / 12})


def fake_summary(lengths: list[int]) -> Summary:
    first = np.cumsum([0, *lengths[:-1]])
    tracks = pd.DataFrame({"first": first, "frames": lengths})
    return Summary(sum(lengths), tracks, pd.DataFrame(), pd.DataFrame(), {})


def test_sample_is_all_frames_or_spread_over_the_tracks():
    assert choose(fake_summary([3, 4]), 7, 0).tolist() == list(range(7))
    rows = choose(fake_summary([100, 2, 50]), 30, 0)
    assert rows.tolist() == sorted(set(rows.tolist()))
    track = np.searchsorted([0, 100, 102], rows, side="right")
    assert np.bincount(track)[1:].tolist() == [10, 2, 10]
    assert rows[:10].tolist() == [5 + 10 * k for k in range(10)]  # the middles of ten equal parts
    many = choose(fake_summary([5] * 1000), 100, 3)
    assert len(many) == 100
    assert (many % 5 == 2).all()
    assert many.tolist() == choose(fake_summary([5] * 1000), 100, 3).tolist()
    assert many.tolist() != choose(fake_summary([5] * 1000), 100, 4).tolist()


# -- drift ----------------------------------------------------------------------------------------------------------


def test_drift_of_a_shift_is_the_shift_in_interquartile_ranges():
    old = {"quantiles": {"a": [100 * level for level in LEVELS], "gone": list(LEVELS)}}
    new = {"quantiles": {"a": [100 * level + 25 for level in LEVELS], "born": list(LEVELS)}}
    table = drift(new, old)
    assert table["measure"].tolist() == ["a"]
    assert table["distance"][0] == pytest.approx(25 / 50)
    assert (drift(old, old)["distance"] == 0).all()


def test_profile_round_trips_and_others_are_refused(base, split_of, tmp_path):
    made = profile(summarise(base.root / "frames", split_of, PERCENT))
    path = tmp_path / "profile.json"
    write_json(path, made)
    assert read_profile(path) == made
    assert (drift(made, read_profile(path))["distance"] == 0).all()
    with pytest.raises(UserError, match=r"absent\.json: no such profile"):
        read_profile(tmp_path / "absent.json")
    for broken, says in (
        ({**made, "format": 9}, "format 9"),
        ({"levels": []}, "is no profile"),
        ([], "is no profile"),
        ({**made, "quantiles": {"side": [math.nan] * len(LEVELS)}}, "is no profile"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(UserError, match=says):
            read_profile(path)
