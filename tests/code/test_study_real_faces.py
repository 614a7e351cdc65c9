"""The study of real faces: what it trains and keeps, what stands in for labels, and what its page says."""

from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import yaml
from small_shards import write_small_shards

from fabnet.attributes.aflw2000 import face_box
from fabnet.config import parse_params
from fabnet.errors import UserError
from fabnet.files import hash_file
from fabnet.frames.store import FrameStore
from fabnet.profiles import committed
from fabnet.tables import ANGLE_COLUMNS
from fabnet.video.crop import Box, crop
from fabnet.video.mesh import FaceReading
from studies import read_faces, real_faces, real_faces_page
from studies.read_faces import ReadFaces
from studies.real_faces_page import page

SEEDS = [0, 1]
BUDGET = {"samples": 8, "batch_size": 4, "validation_every": 8, "validation_samples": 4, "checkpoint_every": 8}


@pytest.fixture(scope="module")
def params():
    """The default profile with networks and budgets that train in a blink."""
    values = yaml.safe_load(committed())
    values["extract"]["image_size"] = 16
    train = values["train"]
    train["common"] |= {"base_filters": 4, "embedding_dim": 8, "precision": "fp32"} | BUDGET
    for changes in (*train["variants"].values(), *train["finetuned"].values()):
        for key in set(BUDGET) & set(changes):
            del changes[key]
    train["variants"] = {name: train["variants"][name] for name in ("fabnet", "fabnet_3src")}
    train["finetuned"] = {"fabnet_curriculum": train["finetuned"]["fabnet_curriculum"]}
    return parse_params(values)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Noise of 32 px: six people, of whom four are learnt from and one is for validation."""
    folder = tmp_path_factory.mktemp("real")
    write_small_shards(folder, 32)
    (folder / "splits.parquet").rename(folder / "frames/splits.parquet")
    return folder / "frames"


@pytest.fixture(scope="module")
def readings():
    """Of all 48 crops: points around places that differ, and one face that is not sure."""
    random = np.random.default_rng(3)
    points = random.uniform(12, 20, (48, 1, 2)) + random.uniform(-6, 6, (1, 68, 2))
    table = pd.DataFrame(random.normal(0, 20, (48, 3)), columns=list(ANGLE_COLUMNS))
    return table.assign(turned_deg=0.0, presence=[0.2] + [1.0] * 47, landmarks68=list(points.reshape(48, 136)))


@pytest.fixture(scope="module")
def work(tmp_path_factory, readings):
    folder = tmp_path_factory.mktemp("work")
    readings.to_parquet(folder / "readings.parquet")
    return folder


@pytest.fixture(scope="module")
def networks(params, frames, work):
    """What the study trains when asked for two seeds, a recipe, and a point of each curve."""
    given = Namespace(seeds=SEEDS, recipes=["framed"], chosen="jitter", people=[2], samples=[12])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_faces, "COMPARED_AT", 4)
        patch.delitem(real_faces.CONTROLS, "fabnet_longer_3src")
        runs = list(real_faces.runs(params, given))
        for run in runs:
            real_faces.train(run, frames, work, 16)
    return runs


@pytest.fixture(scope="module")
def told(params, frames, work, networks, readings):
    tables = {"readings": readings, "turned": readings.assign(turned_deg=20.0)}
    labelled = {name: ReadFaces(name, frames, frames / "splits.parquet", table) for name, table in tables.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_faces, "COMPARED_AT", 4)
        patch.setattr(real_faces, "RESAMPLES", 50)
        found = real_faces.tell(labelled, networks, SEEDS, params, work)
    # Faces that are scored like any labelled set: the same ones under the name of one.
    return found | {
        "crops": real_faces.described(frames),
        "sets": found["sets"] | {"aflw2000": found["sets"]["readings"]},
    }


def test_what_is_trained_differs_in_what_it_says(networks):
    by = {(run.group, run.variant, run.values.seed): run for run in networks}
    assert len(by) == len(networks) == 4 * 2 + 2 + 2 + 2 + 2
    longer, curriculum = (by["main", name, 1].values.model_dump() for name in ("fabnet_longer", "fabnet_curriculum"))
    assert {key for key in longer if longer[key] != curriculum[key]} == {"curriculum"}
    assert by["samples-12", "fabnet_3src", 0].values.samples == 12
    base, framed = by["samples-4", "fabnet_3src", 0], by["recipe-framed", "fabnet_3src", 0]
    assert (base.values, base.framed, framed.framed) == (framed.values, False, True)
    assert by["chosen-jitter", "fabnet_3src", 1].values.jitter > 0 == base.values.jitter


def test_a_trained_network_is_kept_and_other_params_are_refused(networks, frames, work):
    first = networks[0]
    weights = first.place(work) / "best.pt"
    before = weights.stat().st_mtime_ns, hash_file(weights)
    real_faces.train(first, frames, work, 16)
    assert (weights.stat().st_mtime_ns, hash_file(weights)) == before
    other = real_faces.Run(first.group, first.variant, first.values.model_copy(update={"learning_rate": 0.5}))
    with pytest.raises(SystemExit, match="other params; delete it"):
        real_faces.train(other, frames, work, 16)


def test_fewer_people_are_some_of_more_and_validation_stays(frames, tmp_path):
    splits = frames / "splits.parquet"
    three, two = (pd.read_parquet(real_faces.fewer_people(splits, n, tmp_path / f"{n}.parquet")) for n in (3, 2))
    assert set(two["identity"]) < set(three["identity"])
    assert three["split"].value_counts().to_dict() == {"train": 3, "validation": 1, "test": 1}
    with pytest.raises(UserError, match="has 4 training people, not 9"):
        real_faces.fewer_people(splits, 9, tmp_path / "9.parquet")


def test_framed_crops_are_cut_around_the_points(networks, frames, work, readings):
    large, framed = FrameStore(frames), FrameStore(work / "frames-16-framed")
    before, after = large.decode(range(48)), framed.decode(range(48)).astype(float)
    for row in (1, 30):
        box = Box(*face_box(readings["landmarks68"][row].reshape(68, 2)))
        assert np.abs(after[row] - crop(before[row], box, 16)).mean() < 25  # noise through JPEG
    assert np.abs(after[0] - crop(before[0], Box(0, 0, 32, 32), 16)).mean() < 25  # not sure: as it is
    assert np.abs(after[1] - crop(before[1], Box(0, 0, 32, 32), 16)).mean() > 25


def test_readings_are_learnt_from_training_people_and_scored_on_validation_people(params, frames, readings):
    faces = ReadFaces("readings", frames, frames / "splits.parquet", readings)
    table = faces.table()
    assert len(table) == 39  # of 40: p5 is a test person, the first crop is not sure
    assert table.groupby("split")["identity"].unique().map(set).to_dict() == {
        "validation": {"p0"},
        "train": {"p1", "p2", "p3"},
        "test": {"p4"},
    }
    found = real_faces.scores(None, "constant", faces, params)
    learnt, scored = (table.loc[table["split"] == split, list(ANGLE_COLUMNS)].to_numpy() for split in ("train", "test"))
    by_hand = np.abs(scored - learnt.mean(axis=0)).mean()
    assert found["pose_mae_deg"][0] == pytest.approx(by_hand, rel=1e-5)
    assert found["pose_mae_deg"][1].shape == (real_faces.RESAMPLES,)


def test_a_person_without_a_split_is_named(frames, readings, tmp_path):
    pd.read_parquet(frames / "splits.parquet").query("identity != 'p3'").to_parquet(tmp_path / "splits.parquet")
    with pytest.raises(UserError, match="has no row of p3"):
        ReadFaces("readings", frames, tmp_path / "splits.parquet", readings)


def test_every_crop_is_read_once(frames, tmp_path, monkeypatch):
    seen = []

    def read_face(image, box):
        seen.append((image.shape, box))
        return FaceReading(np.full((468, 3), float(len(seen))), 0.9, 1.0, 2.0, 3.0, 0.0, 0.3)

    monkeypatch.setattr(read_faces, "read_face", read_face)
    first = read_faces.read_crops(frames, tmp_path / "readings.parquet")
    again = read_faces.read_crops(frames, tmp_path / "readings.parquet")
    assert seen == [((32, 32, 3), Box(0, 0, 32, 32))] * 48
    assert first.loc[5, ["roll_deg", "pitch_deg", "yaw_deg"]].tolist() == [1.0, 2.0, 3.0]
    assert [points[0] for points in again["landmarks68"]] == list(range(1, 49))


def test_readings_of_other_crops_are_refused(frames, readings, tmp_path):
    for other in (readings.drop(columns="turned_deg"), readings[:40], readings.assign(turned_deg=5.0)):
        other.to_parquet(tmp_path / "readings.parquet")
        with pytest.raises(UserError, match=r"readings\.parquet: is not what was read of these 48 crops; delete it"):
            read_faces.read_crops(frames, tmp_path / "readings.parquet")


def test_a_turned_crop_is_cut_from_the_turned_picture(frames, readings):
    quarter = ReadFaces("turned", frames, frames / "splits.parquet", readings.assign(turned_deg=90.0))
    row = next(quarter.table().itertuples())
    picture = np.rot90(FrameStore(frames).decode([row.row])[0], -1)  # clockwise
    expected = crop(np.ascontiguousarray(picture), Box(row.left, row.top, row.right, row.bottom), 16)
    assert np.abs(quarter.crop(row, 16).astype(int) - expected).max() <= 1


def test_crops_are_read_as_they_are_turned(frames, tmp_path, monkeypatch):
    seen = []

    def read_face(image, box):
        seen.append(image)
        return FaceReading(np.zeros((468, 3)), 0.9, 1.0, 2.0, 3.0, 0.0, 0.3)

    monkeypatch.setattr(read_faces, "read_face", read_face)
    table = read_faces.read_crops(frames, tmp_path / "turned.parquet", 30.0)
    assert table["turned_deg"].abs().max() <= 30
    assert table["turned_deg"].std() > 10
    picture = FrameStore(frames).decode([7])[0]
    np.testing.assert_array_equal(seen[7], read_faces.rotated(picture, table["turned_deg"][7]))


def test_scores_are_kept_until_the_weights_change(told, params, frames, work, networks, readings, monkeypatch):
    monkeypatch.setattr(real_faces, "scores", lambda *_: pytest.fail("scored again"))
    monkeypatch.setattr(real_faces, "COMPARED_AT", 4)
    labelled = {"readings": ReadFaces("readings", frames, frames / "splits.parquet", readings)}
    again = real_faces.tell(labelled, networks, SEEDS, params, work)
    assert again["sets"]["readings"] == told["sets"]["readings"]


def test_differences_are_over_the_seeds_that_both_have(told):
    own = told["sets"]["readings"]
    encoders, differences = own["encoders"], own["differences"]
    assert [len(encoders[name]["pose_mae_deg"]["seeds"]) for name in ("main/fabnet", "random", "hog")] == [2, 2, 1]
    fabnet, longer, hog = (
        np.array(encoders[name]["pose_mae_deg"]["seeds"])
        for name in ("main/fabnet_3src", "chosen-jitter/fabnet_3src", "hog")
    )
    cell = differences["chosen-jitter/fabnet_3src - main/fabnet_3src"]["pose_mae_deg"]
    assert cell["seeds"] == pytest.approx(longer - fabnet)
    assert differences["main/fabnet_3src - hog"]["pose_mae_deg"]["seeds"] == pytest.approx(fabnet - hog)
    assert "recipe-framed/fabnet_3src - samples-4/fabnet_3src" in differences


def test_the_page_tells_goals_order_recipes_and_curves(told):
    text = page(told)
    cell = told["sets"]["aflw2000"]["encoders"]["main/fabnet_3src"]["pose_mae_deg"]
    verdict = "met" if cell["value"] <= 10.5 else f"missed by {cell['value'] - 10.5:.1f}"
    line = next(line for line in text.splitlines() if line.startswith("| fabnet_3src | pose °"))
    assert line.endswith(f"| at most 10.5 | {cell['value']:.1f} [{cell['low']:.1f}, {cell['high']:.1f}] | {verdict} |")
    assert "| fabnet_curriculum better than fabnet | " in text
    assert "48 crops of 12 tracks, 4 people to learn from and 1 to choose on" in text
    rows = [line.split(" |")[0] for line in text.splitlines()]
    assert [rows.count(point) for point in ("| 2", "| 12")] == [1, 2]  # people, and samples of both recipes
    assert "## Changes to the recipe" in text
    assert text.count("| recipe-framed/fabnet_3src - samples-4/fabnet_3src |") == 3  # the set, upright and turned


def test_ours_is_told_beside_what_it_should_better(told):
    """Of an error of 12 where HOG has 10: 10.5 is 12.5 % better and closes 75 % of the gap, 11.4 does 5 and 30 %."""

    def row(pose: float, points: float) -> dict[str, dict[str, float]]:
        cells = {"pose_mae_deg": pose, "landmarks68_nme_pct": points}
        return {metric: {"value": value, "low": value - 1, "high": value + 1} for metric, value in cells.items()}

    own = {
        "encoders": {
            "main/fabnet_3src": row(12.0, 30.0),
            "hog": row(10.0, 20.0),
            "main/fabnet_next": row(11.4, 26.0),
            "chosen-a/fabnet_next": row(10.5, 24.0),
        }
    }
    text = "\n".join(real_faces_page._ours(own))
    assert "| fabnet_next | pose ° | 11.40 | 12.00 | 10.00 | 5 % (missed) | 30 % (missed) |" in text
    assert "| fabnet_next | 68 landmarks % | 26.00 | 30.00 | 20.00 | 13 % (met) | 40 % (missed) |" in text
    assert "| chosen-a/fabnet_next | pose ° | 10.50 | 12.00 | 10.00 | 12 % (met) | 75 % (met) |" in text
    assert "should err by 10 % less" not in page(told)  # where it was not trained
