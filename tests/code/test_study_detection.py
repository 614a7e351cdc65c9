"""The study of detectors: intervals, turned stills, and what counts as found."""

import numpy as np
import pytest
from scipy.stats import binomtest

from fabnet.video.crop import Box
from fabnet.video.detect import Detection
from studies.detection import found_in, text, turned, wilson


@pytest.mark.parametrize(("hits", "count"), [(0, 44), (17, 44), (297, 300), (300, 300)])
def test_intervals_are_wilsons(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson(hits, count) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_points_turn_with_their_image():
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:23, 100:103] = 255
    for degrees in (-30, 0, 30, 90):
        shown, points = turned(image, np.array([[101.0, 21.0]]), degrees)
        ys, xs = np.nonzero(shown[..., 0] > 100)
        assert points[0] == pytest.approx((xs.mean(), ys.mean()), abs=0.7)


class Boxes:
    """Finds the same boxes in every image."""

    name, version, min_score = "boxes", "1", 0.0

    def __init__(self, *boxes):
        self.boxes = boxes

    def find(self, image, expected=(), thorough=True):
        return [Detection(box, 1.0) for box in self.boxes]


def test_found_overlaps_by_half():
    faces = [(np.zeros((100, 100, 3), np.uint8), np.array([[20.0, 20.0], [60.0, 60.0]]), yaw) for yaw in (0.0, -70.0)]
    good, half, other = Box(20, 20, 60, 60), Box(20, 20, 60, 38), Box(70, 70, 90, 90)
    told = found_in(Boxes(good, other), faces, 0.0)
    assert told["0"]["all"]["hits"] == told["0"]["all"]["n"] == 2
    assert told["0"]["yaw_60_to_90"]["n"] == 1
    assert told["0"]["elsewhere"] == 2
    missed = found_in(Boxes(half), faces, 0.0)
    assert missed["0"]["all"]["hits"] == 0
    assert found_in(Boxes(good), faces, 1.1)["0"]["all"]["hits"] == 0
    each = {"found": told, "false_faces": 3, "quick_look_ms": 9.5}
    page = text({"stills": 2, "backgrounds": 5, "clips": 51, "processor": "Some CPU", "detectors": {"boxes": each}})
    low = told["0"]["yaw_60_to_90"]["low"]
    assert f"| `boxes` | 0 | 100.0 [34.2, 100.0] | 100.0 [{low:.1f}, 100.0] | 2 |" in page
    assert "| `boxes` | 3 | 9.5 |" in page
    assert "on Some CPU." in page
