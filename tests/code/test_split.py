import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabnet.errors import UserError
from fabnet.frames.split import apportion, split_identities

PERCENT = {"train": 75, "validation": 15, "test": 10}


def names(count: int) -> list[str]:
    return [f"id{i}" for i in range(count)]


@given(st.lists(st.text(min_size=1), min_size=3, unique=True), st.integers(0, 2**32 - 1), st.randoms())
def test_order_and_repetition_do_not_matter(identities, seed, shuffler):
    shuffled = [*identities, identities[0]]
    shuffler.shuffle(shuffled)
    got = split_identities(shuffled, PERCENT, seed)
    assert got == split_identities(identities, PERCENT, seed)
    assert list(got) == sorted(identities)
    assert set(got.values()) == set(PERCENT)


def test_sizes_of_200():
    splits = list(split_identities(names(200), PERCENT, 0).values())
    assert {name: splits.count(name) for name in PERCENT} == {"train": 150, "validation": 30, "test": 20}


def test_seed_decides():
    assert split_identities(names(50), PERCENT, 0) != split_identities(names(50), PERCENT, 1)


def test_every_identity_is_equally_likely_to_be_tested():
    count = 20
    tested = dict.fromkeys(names(count), 0)
    for seed in range(1000):
        for name, split in split_identities(names(count), PERCENT, seed).items():
            tested[name] += split == "test"
    # Binomial (1000, 0.1): five standard deviations.
    assert all(abs(times - 100) < 48 for times in tested.values())


@pytest.mark.parametrize(("count", "told"), [(0, "0 identities"), (1, "1 identity"), (2, "2 identities")])
def test_too_few_identities(count, told):
    with pytest.raises(UserError, match=f"^{told} cannot be split"):
        split_identities(names(count), PERCENT, 0)


@given(st.integers(3, 3000), st.integers(1, 98), st.data())
def test_apportion(total, first, data):
    second = data.draw(st.integers(1, 99 - first))
    percent = {"a": first, "b": second, "c": 100 - first - second}
    counts = apportion(total, percent)
    assert sum(counts.values()) == total
    assert min(counts.values()) >= 1
    exact = {name: total * share / 100 for name, share in percent.items()}
    if min(exact.values()) >= 1:
        assert all(abs(counts[name] - exact[name]) < 1 for name in percent)
        # Largest remainder: whoever was rounded up had at least the remainder of whoever was not.
        up = [exact[name] % 1 for name in percent if counts[name] > exact[name]]
        down = [exact[name] % 1 for name in percent if counts[name] < exact[name]]
        assert not up or not down or min(up) >= max(down) - 1e-9


def test_apportion_small_counts():
    assert apportion(3, PERCENT) == {"train": 1, "validation": 1, "test": 1}
    assert apportion(5, PERCENT) == {"train": 3, "validation": 1, "test": 1}
    assert apportion(10, PERCENT) == {"train": 8, "validation": 1, "test": 1}


def test_the_generator_of_the_interpreter_is_left_alone():
    random.seed(5)
    before = random.getstate()
    split_identities(names(9), PERCENT, 0)
    assert random.getstate() == before
