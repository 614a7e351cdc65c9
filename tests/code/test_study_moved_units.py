"""The study of warps that should move brows and mouths: what differs between its pictures, and what it tells."""

import numpy as np
import pytest
import torch

from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.networks.build import build
from fabnet.synthetic.faces import portraits_of
from fabnet.synthetic.state import FaceState
from fabnet.tables import UNITS
from studies import moved_units
from studies.moved_units import MOVEMENTS, at_rest, moved, of_the_way, page, panels, taken_away
from studies.variants import load


def test_source_and_target_differ_in_the_movement_alone():
    rest = at_rest(FaceState(yaw=-5.0, units=(0.5,) * len(UNITS), blink=1.0, gaze=(0.3, 0.1)))
    assert (rest.yaw, rest.blink, sum(rest.units)) == (-5.0, 0.0, 0.0)
    raised = moved(rest, (1, 2))
    assert {unit for unit, value in raised.by_number().items() if value} == {1, 2}
    assert moved(rest, 10.0).yaw == 5.0  # towards the front
    assert moved(at_rest(FaceState(yaw=5.0)), 10.0).yaw == -5.0
    assert {unit for units in MOVEMENTS.values() if not isinstance(units, float) for unit in units} == set(UNITS)


def test_people_are_test_people_of_the_labelled_set(monkeypatch):
    asked = []

    def portraits(seed, number, faces):
        asked.append(number)
        return portraits_of(seed, number, faces)

    monkeypatch.setattr("fabnet.synthetic.faces.portraits_of", portraits)
    params = load(None)
    sources, targets, points = moved_units.draw(params, 2)
    faces = params.synthesize.faces
    assert asked == [faces.train + faces.validation, faces.train + faces.validation + 1]
    assert sources.shape == (2, 64, 64, 3)
    assert targets.shape == (len(MOVEMENTS), 2, 64, 64, 3)
    assert (np.abs(targets.astype(int) - sources).mean(axis=(2, 3, 4)) > 0.2).all()
    raised = points[0] - points[1 + list(MOVEMENTS).index("brows raised (1, 2)")]
    assert points.shape == (1 + len(MOVEMENTS), 2, 68, 2)
    assert (raised[:, 17:27, 1] > 0.3).all()  # brows lie lower in the source
    np.testing.assert_allclose(raised[:, 27:36], 0, atol=0.02)  # and the nose where it was


@pytest.fixture(scope="module")
def small_fabnets(tmp_path_factory):
    """Two networks of four filters that have learnt nothing."""
    folders = []
    for name in ("a", "b"):
        folder = tmp_path_factory.mktemp("models") / name
        folder.mkdir()
        card = {"objective": "fabnet", "image_size": 64, "base_filters": 4, "embedding_dim": 8, "flow_stride": 4}
        torch.save(build("fabnet", 64, 4, 8, flow_stride=4).state_dict(), folder / "best.pt")
        write_json(folder / "model.json", card)
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def pictures():
    """Targets 20 grey levels from their sources, and warps to oneself that are 10 levels off the other way."""
    sources = np.full((4, 8, 8, 3), 100, dtype=np.uint8)
    targets = np.full((len(MOVEMENTS), 4, 8, 8, 3), 120, dtype=np.uint8)
    made = np.full((1 + len(MOVEMENTS), 4, 8, 8, 3), 90, dtype=np.uint8)
    made[1], made[2], made[3] = 120, 105, 60  # all of it, half of it, and as much again away
    return sources, targets, made


def test_what_is_taken_away_is_told_against_a_warp_to_oneself(pictures):
    found = list(taken_away(*pictures).values())
    assert [each["value"] for each in found[:4]] == [100, 50, -100, 0]
    assert [each["left_of_source_pct"] for each in found[:4]] == [0, 75, 300, 150]
    assert found[1]["low"] == found[1]["high"] == 50


def test_flows_are_followed_along_the_way_of_each_landmark():
    rng = np.random.default_rng(1)
    source = rng.uniform(20, 44, (3, 68, 2))
    points = np.stack([source, *(source + np.array([4.0, -2.0]) for _ in MOVEMENTS)])
    whole = np.array([-4.0, 2.0]) * 2 / 63  # of 64 px, whose outer centres are at -1 and 1
    flows = np.zeros((1 + len(MOVEMENTS), 3, 2, 64, 64)) + whole[:, None, None]
    flows[0] = 9  # a warp to oneself has no part in it
    flows[2] *= 0.5
    flows[3] *= -1
    flows[4] = np.array([2.0, 4.0])[:, None, None] / 63  # across the way
    flows[5, 0] *= 4
    found = list(of_the_way(points, flows).values())
    assert [each["value"] for each in found[:5]] == pytest.approx([100, 50, -100, 0, 200])
    assert (found[1]["low"], found[1]["high"]) == pytest.approx((50, 50))
    assert found[4]["low"] == pytest.approx(100)
    assert found[0]["farthest_px"] == pytest.approx(np.sqrt(20))


def test_the_page_and_the_picture_have_every_movement(pictures):
    sources, targets, made = pictures
    flows = np.random.default_rng(0).normal(0, 0.01, (*made.shape[:2], 2, 8, 8))
    told = {"directories": ["m/a"], "people": 4, "size": 8, "networks": {"a": taken_away(*pictures)}}
    way = {"value": 25.0, "low": 20.0, "high": 30.0, "farthest_px": 1.25}
    told["ways"] = {"a": dict.fromkeys(MOVEMENTS, way)}
    assert "| brows lowered (4) | 50.0 [50.0, 50.0] (75) |" in page(told)
    assert "| brows lowered (4) | 1.2 | 25 [20, 30] |" in page(told)
    figure = panels(sources, targets, {"a": (made, flows)})
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [
        "source",
        "target",
        "a",
        "change of flow",
    ]


def test_the_record_is_of_networks_by_name(tmp_path, small_fabnets):
    one, other = small_fabnets
    moved_units.main([str(one), str(other), "--people", "2", "--out", str(tmp_path / "told")])
    told = read_json(tmp_path / "told.json")
    assert list(told["networks"]) == [one.name, other.name]
    assert told["people"] == 2
    assert (tmp_path / "told.png").stat().st_size > 10_000
    assert "![Each movement" in (tmp_path / "told.md").read_text()


def test_bad_arguments_are_one_line(small_fabnets, capsys):
    one, _ = small_fabnets
    for arguments, said in (([str(one), str(one)], "must differ: a, a"), ([str(one), "--people", "0"], "at least 1")):
        with pytest.raises(SystemExit):
            moved_units.main(arguments)
        assert said in capsys.readouterr().err
    with pytest.raises(UserError, match=r"a: is for 64 px, params\.yaml for 32"):
        moved_units.warped(one, np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 1, 32, 32, 3), np.uint8))
