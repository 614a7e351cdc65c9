"""Good data pass every guard; every planted fault is caught by a rule, and docs/data-quality.md says by which."""

from pathlib import Path

import pytest

from tests.data import good_data
from tests.data.faults import FAULTS, PAGE, documented
from tests.data.guards import catch, caught
from tests.data.planting import Fault

CATCHES: dict[int, tuple[str, str] | None] = {}


def test_good_data_break_no_rule(base, tmp_path):
    assert list(caught(good_data.copy(base, tmp_path / "copy"))) == []


@pytest.mark.parametrize(
    "number", range(len(FAULTS)), ids=lambda number: f"{FAULTS[number].table}: {FAULTS[number].name}"
)
def test_fault_is_caught_by_a_named_rule(base, tmp_path, number):
    CATCHES[number] = found = catch(base, FAULTS[number], tmp_path / "copy")
    assert found is not None
    assert not found[1].startswith("?"), "a message that JOINS does not know"


def test_there_are_enough_kinds_of_fault():
    assert len({(one.table, one.name) for one in FAULTS}) == len(FAULTS) >= 40


def test_the_page_tells_what_is_caught():
    if len(CATCHES) < len(FAULTS):
        pytest.skip("the faults were not all planted in this run")
    text = Path(PAGE).read_text()
    found: list[tuple[Fault, tuple[str, str] | None]] = [(one, CATCHES[number]) for number, one in enumerate(FAULTS)]
    assert documented(text, found) == text, "run `python -m tests.data.faults`"
