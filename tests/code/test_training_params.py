"""Values of a variant that do not go together are refused where they are written."""

import pytest
from small_runs import params

from fabnet.config import load_params, parse_params
from fabnet.errors import ConfigError


def parse(common=None, finetuned=None, **variants):
    values = load_params().model_dump(mode="json")
    values["train"]["common"] |= common or {}
    values["train"]["variants"] = {"one": {}} | variants
    values["train"]["finetuned"] = finetuned or {}
    return parse_params(values).train


def test_the_variants_of_the_paper():
    train = parse(
        curriculum={"curriculum": {}},
        joint={"sources": 3},
        finetuned={
            "tuned": {"curriculum": {}, "sources": 3, "start_from": "curriculum", "freeze": ["flow_decoder"]},
            "further": {"start_from": "tuned", "sources": 3},
        },
    )
    assert train.names == ["one", "curriculum", "tuned", "further", "joint"]
    tuned = train.variant("tuned")
    assert (tuned.curriculum.width, tuned.curriculum.shift, tuned.curriculum.shifts) == (50, 10, 4)
    assert train.variant("one").curriculum is None
    assert train.variant("joint").freeze == ()


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            {"start_from": "one"},
            r"train\.variants\.bad\.start_from: a variant that starts .* belongs in train\.finetuned",
        ),
        ({"freeze": ["flow_decoder"]}, r"train\.variants\.bad: `freeze` keeps weights of the variant in `start_from`"),
        ({"freeze": ["mouth"], "start_from": "one"}, r"train\.variants\.bad\.freeze\.0: "),
        ({"objective": "autoencoder", "sources": 3}, "`sources` and `freeze` are for objective fabnet, not auto"),
        ({"curriculum": {"shifts": 6}}, r"width \+ shift \* shifts must be at most 100 percent, not 110"),
        ({"curriculum": {"shift": 0}}, r"train\.variants\.bad\.curriculum\.shift: "),
        ({"optimiser": "muon", "base_filters": 2}, "`optimiser` muon needs `base_filters` >= 4"),
        ({"processes": 20}, "`batch_size` 32 is less than two for each of 20 processes"),
        ({"sources": 0}, r"train\.variants\.bad\.sources: "),
    ],
)
def test_impossible_variants(variant, message):
    with pytest.raises(ConfigError, match=message):
        parse({"batch_size": 32}, bad=variant)


@pytest.mark.parametrize(
    ("finetuned", "message"),
    [
        (
            {"bad": {"start_from": "absent"}},
            r"finetuned\.bad\.start_from: no such variant as absent; there are one, bad",
        ),
        ({"bad": {"start_from": "bad"}}, r"finetuned\.bad\.start_from: .*in a circle: bad <- bad"),
        ({"bad": {}}, r"train\.finetuned\.bad\.start_from: must name the variant to begin with"),
        ({"one": {"start_from": "one"}}, r"finetuned\.one.*: "),
        ({"bad": {"start_from": "one", "samples": -1}}, r"train\.finetuned\.bad\.samples: "),
        (
            {"bad": {"start_from": "one", "views": 4, "histograms": 2.0}},
            r"finetuned\.bad\.histograms: is 2, but one, whose weights it begins with, has 0: both or neither",
        ),
    ],
)
def test_impossible_finetuned_variants(finetuned, message):
    with pytest.raises(ConfigError, match=message):
        parse(finetuned=finetuned)


def test_lines_are_variants_after_what_they_start_from_the_longest_first():
    train = parse(
        two={},
        three={},
        finetuned={
            "from_two": {"start_from": "two"},
            "further": {"start_from": "from_two"},
            "from_one": {"start_from": "one"},
            "other": {"start_from": "two"},
        },
    )
    assert train.lines() == [["two", "from_two", "further", "other"], ["one", "from_one"], ["three"]]
    assert parse().lines() == [["one"]]


def test_the_released_code_stops_at_85():
    curriculum = params(curriculum={"shift": 5, "shifts": 7}).curriculum
    assert curriculum.shift * curriculum.shifts + curriculum.width == 85
