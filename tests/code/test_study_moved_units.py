"""The study of warps that should move brows and mouths: what differs between its pictures, and what it tells."""

import numpy as np
import pytest

from fabnet.synthetic.faces import portraits_of
from fabnet.synthetic.state import FaceState
from fabnet.tables import UNITS
from studies import moved_units
from studies.moved_units import MOVEMENTS, at_rest, moved, page, panels, taken_away
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
    sources, targets = moved_units.draw(params, 2)
    faces = params.synthesize.faces
    assert asked == [faces.train + faces.validation, faces.train + faces.validation + 1]
    assert sources.shape == (2, 64, 64, 3)
    assert targets.shape == (len(MOVEMENTS), 2, 64, 64, 3)
    assert (np.abs(targets.astype(int) - sources).mean(axis=(2, 3, 4)) > 0.2).all()


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


def test_the_page_and_the_picture_have_every_movement(pictures):
    sources, targets, made = pictures
    flows = np.random.default_rng(0).normal(0, 0.01, (*made.shape[:2], 2, 8, 8))
    told = {"directories": ["m/a"], "people": 4, "size": 8, "networks": {"a": taken_away(*pictures)}}
    assert "| brows lowered (4) | 50.0 [50.0, 50.0] (75) |" in page(told)
    figure = panels(sources, targets, {"a": (made, flows)})
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == [
        "source",
        "target",
        "a",
        "change of flow",
    ]
