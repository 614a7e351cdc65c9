"""The comparison of variants over training seeds."""

import numpy as np
import pytest

from studies.variants import markdown, summary

SEEDS, RESAMPLES = 3, 500


@pytest.fixture(scope="module")
def draws():
    """Two encoders whose errors rise and fall with the people drawn, b being better by one degree on all of them."""
    rng = np.random.default_rng(0)
    people = rng.normal(0, 2, RESAMPLES)
    seeds = np.array([[0.0], [0.3], [-0.3]])
    a = 6 + people + seeds
    b = 5 + people - seeds / 10
    units = rng.normal(60, 1, (2, SEEDS, RESAMPLES))
    return {
        "a": {"yaw_mae_deg": (a.mean(axis=1), a), "units_auc": (units[0].mean(axis=1), units[0])},
        "b": {"yaw_mae_deg": (b.mean(axis=1), b), "units_auc": (units[1].mean(axis=1), units[1])},
    }


def test_a_paired_difference_sees_what_the_intervals_of_both_hide(draws):
    found = summary(draws, [("a", "b")])
    one, two = (found["variants"][name]["yaw_mae_deg"] for name in "ab")
    assert one["low"] < two["value"] < one["high"]
    low, high = np.percentile(draws["a"]["yaw_mae_deg"][1].mean(axis=0), (2.5, 97.5))
    assert (one["low"], one["high"]) == pytest.approx((low, high))
    assert one["seeds"] == pytest.approx([row.mean() for row in draws["a"]["yaw_mae_deg"][1]])
    difference = found["differences"]["b - a"]["yaw_mae_deg"]
    assert difference["value"] == pytest.approx(-1)
    assert (difference["low"], difference["high"]) == pytest.approx((-1, -1))
    assert difference["seeds"] == pytest.approx([-1.0, -1.33, -0.67])


def test_only_what_seeds_and_people_agree_on_is_bold(draws):
    text = markdown(summary(draws, [("a", "b")]), "what ran")
    line = next(line for line in text.splitlines() if line.startswith("| b - a |"))
    yaw, units = line.split("|")[2:4]
    assert yaw.strip() == "**-1.00** [-1.00, -1.00] (-1.00, -1.33, -0.67)"
    assert "**" not in units
    assert "| variant | yaw ° ↓ | action units AUC ↑ |" in text
