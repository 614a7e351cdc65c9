"""The report says what the scores say."""

import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from fabnet.errors import UserError
from fabnet.figures.pictures import Gap, Picture
from fabnet.report.blocks import Section, Table, Text, area_table, score_table, section
from fabnet.report.render import markdown, table
from fabnet.report.set_results import SetResults
from fabnet.report.set_section import labelled_set, left_out, robustness
from fabnet.report.training import caution, what_ran
from fabnet.report.write_report import closest_pairs, data_health

YAW = {"value": 6.04, "low": 5.5, "high": 6.66, "n": 800}
AREA = {"value": 61.0, "low": 60.0, "high": 62.0, "n": 800}
CARD = {
    "objective": "fabnet",
    "image_size": 64,
    "params": {"samples": 1000, "copying": {"share": 0.02, "at": 0.5}},
    "best_step": 31,
    "best_validation_loss": 0.08349,
    "below_copying_pct": 31.25,
    "weights_sha256": "a" * 64,
    "recipe": {"hash": "0123456789abcdef"},
}
HEALTH = {
    "counts": {
        "index": {"rows": 48, "tracks": 4},
        "rejects": {"reasons": {"too_short": 2, "unreadable": 0}},
        "splits": {"rows": 4, "identities": {"train": 2, "validation": 1, "test": 1}},
        "ledger": {"boxes_clamped": 3},
    },
    "limits": {
        "tracks.frames": {"critical": {"passed": True}, "warning": {"passed": False}},
        "tracks.brightness": {"warning": {"passed": True}},
        "sampled.decodes": {"critical": {"passed": True}},
    },
}


def test_runs_are_linked_on_the_server_that_params_name():
    experiment = "https://mlflow.example.org/#/experiments/7"
    table, told, *_ = what_ran({"fabnet": CARD}, experiment=experiment)
    text, url = re.fullmatch(r"\[(.*)\]\((\S+)\)", table.rows[0][7]).groups()
    assert text == "`aaaaaaaaaaaa`"
    page, query = url.split("?")
    assert page == f"{experiment}/runs"
    assert parse_qs(query) == {"searchFilter": ['tags.`weights.sha256` = "%s"' % ("a" * 64)]}
    assert "as do the links above" in told.markdown
    assert "links" not in list(what_ran({"fabnet": CARD}))[1].markdown


def test_score_table_has_a_line_per_encoder_and_a_dash_for_what_was_not_scored():
    made = score_table({"fabnet": {"units_auc": AREA, "yaw_mae_deg": YAW}, "hog": {"yaw_mae_deg": YAW}})
    assert table(made).splitlines() == [
        "| encoder | yaw ° ↓ | action units AUC ↑ |",
        "|---|---|---|",
        "| fabnet | **6.0** [5.5, 6.7] | **61.0** [60.0, 62.0] |",
        "| hog | **6.0** [5.5, 6.7] | – |",
    ]


def test_a_class_absent_from_the_test_faces_is_said_to_be():
    made = area_table({"fabnet": {"au01": AREA | {"value": 61.26}, "au09": None}})
    assert table(made).splitlines()[-1] == "| fabnet | 61.3 | absent |"


def test_a_run_that_is_too_small_says_that_its_scores_mean_nothing():
    small, longer, large = ({**CARD, "params": {**CARD["params"], "samples": samples}} for samples in (256, 512, 9600))
    (told,) = caution({"fabnet": small, "longer": longer}, {"synthetic": 24, "mine": 500})
    assert told.markdown.startswith(
        "**The scores of this run mean nothing**: no variant learnt from more than 512 samples"
    )
    assert "`synthetic` has 24 test faces" in told.markdown
    assert "mine" not in told.markdown
    assert [*caution({"fabnet": large, "other": small}, {"synthetic": 2000})] == []


def test_a_variant_that_still_copies_is_named_at_the_head():
    card = {**CARD, "params": {**CARD["params"], "samples": 9600}}
    (told,) = caution({"fabnet": card, "other": {**card, "below_copying_pct": 1.94}}, {})
    assert told.markdown.startswith("**`other` still copies**: its validation loss is 1.9 % below that of showing")
    assert [*caution({"autoencoder": {**card, "below_copying_pct": None}}, {})] == []


def test_report_names_what_ran_and_on_what():
    ran = section("What ran", "what-ran", lambda: what_ran({"fabnet": CARD}))
    data = section("Data", "data", lambda: data_health(HEALTH, ["faces"]))
    text = markdown("Results", [ran, data], Path("reports"))
    assert text.startswith("# Results\n\n## What ran\n\n")
    assert "| fabnet | fabnet | 64 px | 1000 | 31 | 0.0835 | 31.2 % | `aaaaaaaaaaaa` | `0123456789abcdef` |" in text
    assert (
        "48 frames of 4 tracks of 4 identities (2 train, 1 validation, 1 test); rejected: 2 too_short; boxes cut"
        in text
    )
    assert "cut back to their frame: 3. Limits of health that were passed, and only warn: tracks.frames." in text
    assert "[the frames](data/frames.html)" in text
    assert "[`faces`](data/sets/faces.html)" in text
    assert "[identities across splits](audit/pairs.html)" in text


def test_every_kind_of_block_as_markdown():
    below = Section("Deeper", "deeper", [Gap("curves", "no history")])
    blocks = [
        Text("Words."),
        Table(["a", "b"], [["1", "x|y"]], "Read it so."),
        Picture(Path("reports/p/a.png"), "An a"),
    ]
    made = markdown("T", [Section("First", "first", blocks, [below])], Path("reports"))
    expected = ["# T", "## First", "Words.", "Read it so.", "| a | b |\n|---|---|\n| 1 | x\\|y |", "![An a](p/a.png)"]
    assert made == "\n\n".join([*expected, "### Deeper", "> **Not made: curves.** no history"]) + "\n"


def test_a_labelled_set_shows_all_that_was_found():
    paired = {"hog": {"yaw_mae_deg": {"difference": 1.0, "low": 0.5, "high": 1.5, "n": 800, "apart": True}}}
    found = SetResults(
        name="faces",
        kind="table",
        scores={"fabnet": {"yaw_mae_deg": YAW}, "hog": {"yaw_mae_deg": YAW}},
        columns={"units": {"fabnet": {"au01": AREA}}},
        papers={"fabnet": {"yaw_mae_deg": YAW}, "hog": {"yaw_mae_deg": {**YAW, "value": 9.0, "low": 8.5, "high": 9.5}}},
        edges={"hog": ["pose"]},
        reference="fabnet",
        paired=paired,
        left_out={"listed twice": 3, "the image is missing": 1200},
        absent={"test": ["fear"]},
        unscored={"units": ["au09"]},
        pictures=[Picture(Path("reports/sets/faces/pose.png"), "Pose")],
    )
    text = markdown("Results", [section("Labelled set `faces`", "set", lambda: labelled_set(found))], Path("reports"))
    assert "## Labelled set `faces`" in text
    assert "800 test faces" in text
    assert "### Area by unit" in text
    assert "### With the paper's probe" in text
    warned = "disagree by more than their intervals.** Regularised against the paper's: `hog` "
    assert warned in text
    assert "against 9.00 [8.50, 9.50]." in text
    assert "lie at an end of `probe.ridge_alphas` or `probe.logistic_cs`:** `hog`: pose." in text
    assert "| hog | **+1.00** [+0.50, +1.50] |" in text
    assert "1,203 faces of the set were left out before probing:" in text
    assert "| the image is missing | 1,200 |" in text
    assert "No face of the split test shows fear." in text
    assert (
        "au09: all faces that are scored, or that are learnt from, agree, so there is no area; units is scored" in text
    )
    assert "![Pose](sets/faces/pose.png)" in text


def test_nothing_left_out_is_said_too():
    texts = [block.markdown for block in left_out({}, {}, {}, classes=True)]
    assert texts[0] == "No face of the set was left out."
    assert "Every unit and class" in texts[1]
    assert len(list(left_out({}, {}, {}, classes=False))) == 1


def test_bins_without_enough_faces_are_counted_and_not_scored():
    scored = {"fabnet": {"units_auc": AREA}}
    empty = {"identities": 0, "absent": {}, "scores": {}}
    bins = [
        {"low": 0.0, "high": 15.0, "faces": 30, "identities": 9, "enough": True, "scores": scored}
        | {"absent": {"units": ["au01", "au02"]}},
        {"low": 15.0, "high": 30.0, "faces": 3, "enough": False} | empty,
        {"low": 30.0, "high": 45.0, "faces": 0, "enough": False} | empty,
    ]
    slices = {
        "yaw": {"title": "|yaw|, degrees", "one_value": None, "outside": 2, "bins": bins},
        "side": {"title": "side", "one_value": 96.0, "outside": 0, "bins": []},
        "age": {"title": "age", "missing": "The set has no labels of age."},
    }
    _, yaw, side, age = robustness("faces", slices, ["fabnet"])
    assert yaw.blocks[0] == Text("2 test faces lie in no bin.")
    made = yaw.blocks[1]
    assert made.head == ["action units AUC ↑", "0 to 15", "15 to 30", "30 to 45"]
    assert list(made.rows[0]) == ["faces", "30", "3", "0"]
    assert list(made.rows[2]) == ["fabnet", "61.0 [60.0, 62.0]", "too few", "no faces"]
    assert yaw.blocks[2].markdown.endswith("because all its faces agree: units: au01, au02.")
    assert [block.markdown for block in side.blocks] == [
        "All test faces have the same value, 96: there is nothing to compare."
    ]
    assert [block.markdown for block in age.blocks] == ["The set has no labels of age."]


def test_the_picture_of_the_audit_is_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"closest\.png: no such file; run `dvc repro audit`"):
        list(closest_pairs(tmp_path / "closest.png"))
