"""Health: summaries and drift against naive ones, what limits allow, and reports of the same bytes every time."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from fabnet import tables
from fabnet.config import HealthParams, SplitParams
from fabnet.config.health import MEASURES
from fabnet.config.section import first_error
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.quality import profile as profile_module
from fabnet.quality.health import check_recipe, judge_frames, reject_rates
from fabnet.quality.profile import LEVELS, Histogram, Summary, drift, profile, read_profile, summarise
from fabnet.quality.sample import choose
from fabnet.quality.set_audit import balance, judge_set
from fabnet.quality.suites import KEYS, judge_tables
from tests.data import good_data
from tests.data.good_data import LIMITS, PERCENT


@pytest.fixture(scope="module")
def split_of(base):
    table = tables.read(base.path("splits"), tables.Splits)
    return dict(zip(table["identity"], table["split"], strict=True))


def limits(**tables_: dict) -> HealthParams:
    """Of these tables alone."""
    none: dict[str, dict] = {table: {} for table in KEYS}
    return HealthParams.model_validate(LIMITS.model_dump() | none | tables_)


def test_limits_allow_the_share_they_name():
    table = pd.DataFrame({"track_id": list("abcdefghij"), "frames": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]})
    params = limits(
        tracks={"frames": {"critical": {"low": 2, "share": 0.9}, "warning": {"low": 3, "high": 9, "share": 0.8}}}
    )
    critical, warning = judge_tables({"tracks": table}, params)
    assert (critical.level, critical.outside, critical.rows, critical.passed) == ("critical", 1, 10, True)
    assert (warning.level, warning.outside, warning.passed) == ("warning", 3, False)
    assert warning.cases == (("a", 1.0), ("b", 2.0), ("j", 10.0))
    assert warning.wanted == "3 to 9 for 80 %"
    assert warning.name == "tracks.frames"


def test_an_empty_table_and_missing_values_break_nothing():
    empty = pd.DataFrame({"measure": pd.Series([], dtype=str), "distance": pd.Series([], dtype=float)})
    (judged,) = judge_tables({"drift": empty}, limits(drift={"distance": {"critical": {"high": 1}}}))
    assert judged.passed
    assert judged.rows == 0
    rates = reject_rates(pd.DataFrame({"reason": ["lost"] * 5}), 5)
    (judged,) = judge_tables({"rejects": rates}, limits(rejects={"total_pct": {"critical": {"high": 49}}}))
    assert (judged.rows, judged.outside, judged.cases) == (1, 1, (("any", 50.0),))


def test_every_table_of_measures_has_its_keys_and_limits():
    assert KEYS.keys() == MEASURES.keys()
    assert MEASURES.keys() <= HealthParams.model_fields.keys()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"tracks": {"brightnes": {}}}, "tracks.brightnes"),
        ({"track": {}}, "track"),
        ({"tracks": {"frames": {"criticl": {"low": 1}}}}, "tracks.frames.criticl"),
        ({"tracks": {"frames": {"critical": {"low": 2, "high": 1}}}}, "tracks.frames.critical"),
        ({"tracks": {"frames": {"critical": {}}}}, "tracks.frames.critical"),
        ({"tracks": {"frames": {"critical": {"low": 1, "share": 1.5}}}}, "tracks.frames.critical.share"),
    ],
)
def test_unknown_and_impossible_limits_are_errors(values, key):
    with pytest.raises(ValidationError) as caught:
        limits(**values)
    assert first_error(caught.value, HealthParams)[0] == key


def judged(base, params=LIMITS):
    return judge_frames(base.root / "frames", base.path("splits"), SplitParams(seed=0, **PERCENT), params)


def test_reports_are_the_same_bytes_every_time_and_need_no_network(base, tmp_path):
    for folder in ("a", "b"):
        judged(base).write(tmp_path / folder, "frames")
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"frames.json", "frames.html", "frames.profile.json"}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    page = (tmp_path / "a/frames.html").read_text()
    assert re.findall(r'https?://|<script|<link(?! rel="icon" href="data:,">)|@import|src="(?!data:)', page) == []
    report = read_json(tmp_path / "a/frames.json")
    assert report["healthy"] is True
    assert report["counts"]["index"]["rows"] == 96
    assert report["limits"]["tracks.frames"]["critical"] == {
        "low": 2.0,
        "high": None,
        "share": 1.0,
        "rows": 24,
        "outside": 0,
        "passed": True,
        "cases": [],
    }
    assert str(base.root) not in (tmp_path / "a/frames.json").read_text()


def test_unhealthy_frames_fail_after_the_report_is_written(base, tmp_path):
    place = good_data.copy(base, tmp_path / "copy")
    images = place.images()
    images[:40] = 0
    place.rewrite(images)
    verdict = judged(place)
    assert not verdict.healthy
    verdict.write(tmp_path / "out", "frames")
    with pytest.raises(
        UserError, match=r"is not healthy: tracks\.brightness: 10 of 24 not 10 to 245 for 95 %"
    ) as caught:
        verdict.require(tmp_path / "out/frames.html")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "out/frames.html") in str(caught.value)
    report = read_json(tmp_path / "out/frames.json")
    assert report["healthy"] is False
    assert report["limits"]["tracks.brightness"]["critical"]["cases"][0] == ["syn0001/interview/0", 0]
    assert "Not healthy" in (tmp_path / "out/frames.html").read_text()


def test_warnings_do_not_fail(base, tmp_path):
    strict = LIMITS.model_copy(update={"tracks": limits(tracks={"frames": {"warning": {"low": 9}}}).tracks})
    verdict = judged(base, strict)
    verdict.require(tmp_path)
    assert [one.name for one in verdict.failed("warning")] == ["tracks.frames"]
    assert verdict.healthy


def test_illegal_tables_are_a_verdict_with_a_page(base, tmp_path):
    place = good_data.copy(base, tmp_path / "copy")
    place.edit("index", lambda frame: frame.assign(track_id="<b>& " + frame["track_id"]))
    verdict = judged(place)
    verdict.write(tmp_path / "out", "frames")
    page = (tmp_path / "out/frames.html").read_text()
    assert "Illegal" in page
    assert "&lt;b&gt;" in page
    assert "<b>&" not in page
    assert read_json(tmp_path / "out/frames.json")["contracts"]["legal"] is False
    assert not (tmp_path / "out/frames.profile.json").exists()
    with pytest.raises(UserError, match="str_matches"):
        verdict.require(tmp_path)


def test_like_frames_are_shown_as_pictures(base, tmp_path, split_of):
    place = good_data.copy(base, tmp_path / "copy")
    index = pd.read_parquet(place.path("index"))
    split = index["identity"].map(split_of)
    images = place.images()
    a, b = (np.flatnonzero(split == name)[0] for name in ("train", "test"))
    images[b] = images[a]
    place.rewrite(images)
    verdict = judged(place)
    assert [one.name for one in verdict.failed("critical")] == ["duplicates.exact", "duplicates.near_pct"]
    (picture,) = verdict.pictures
    assert picture.splits == "train, test"
    assert picture.apart == "0.0 grey levels"
    assert picture.first_jpeg == picture.second_jpeg
    verdict.write(tmp_path / "out", "frames")
    assert (tmp_path / "out/frames.html").read_text().count("data:image/jpeg;base64,") == 2


def test_drift_is_judged_when_a_profile_is_named(base, tmp_path):
    verdict = judged(base)
    old = verdict.profile
    old["quantiles"]["brightness"] = [value + 200 for value in old["quantiles"]["brightness"]]
    write_json(tmp_path / "old.json", old)
    failed = judged(base, LIMITS.model_copy(update={"profile": tmp_path / "old.json"})).failed("critical")
    assert [(one.name, one.cases[0][0]) for one in failed] == [("drift.distance", "brightness")]


def test_balance_of_labels_is_counted(base):
    labels = tables.read(base.path("labels"), tables.Labels)
    found = balance(labels)
    train = labels[labels["split"] == "train"]
    shares = found["labels"].set_index(["split", "label"])["share_pct"]
    assert shares["train", "happy"] == pytest.approx(100 * (train["expression"] == "happy").mean())
    assert shares["train", "au12"] == pytest.approx(100 * (train["au12"] > 0.2).mean())
    sets = found["sets"].set_index("split")
    assert sets.loc["train", "identities"] == train["identity"].nunique()
    assert sets.loc["train", "widest_deg"] == train[list(tables.ANGLE_COLUMNS)].abs().max().max()
    narrow = labels.assign(right=labels["left"] + np.where(np.arange(len(labels)) % 4 == 0, 7.9, 8.0))
    assert balance(narrow)["sets"]["narrow_pct"].between(20, 30).all()
    assert (sets["narrow_pct"] == 0).all()
    broken = {one.name: one.outside for one in judge_set("narrow", narrow, LIMITS).failed("critical")}
    assert broken["sets.narrow_pct"] == 3
    bare = balance(labels[["face_id", "identity", "split", "image", "left", "top", "right", "bottom"]])
    assert bare["labels"].empty
    assert bare["sets"][["widest_deg", "points_wide"]].isna().all(axis=None)
    assert judge_set("bare", labels.drop(columns=["expression", *tables.UNIT_COLUMNS]), LIMITS).healthy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("{", "is no crop recipe"),
        ("[]", "is no crop recipe"),
        ('{"size": 64, "hash": "0", "fps": 1.0}', "its hash is 0, but"),
    ],
)
def test_recipe_that_is_none(tmp_path: Path, text, says):
    if text is not None:
        (tmp_path / "crop.json").write_text(text)
    with pytest.raises(UserError, match=says):
        check_recipe(tmp_path / "crop.json")


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
    unsigned = index.assign(**{name: index[name].abs() for name in ("roll_deg", "pitch_deg", "yaw_deg")})
    for name in ("face_px", "cut_off", "presence", "roll_deg", "pitch_deg", "yaw_deg", "mouth_open", "eyes_open"):
        np.testing.assert_allclose(tracks[name], unsigned.groupby("track_id")[name].mean())
        assert found.histograms[name].counts.sum() == index[name].notna().sum()
    assert tracks["yaw_deg"].isna().sum() == 1
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
