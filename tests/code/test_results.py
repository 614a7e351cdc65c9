"""The report says what the scores say."""

import math

from fabnet.probing.results import area_table, report_markdown, score_table

YAW = {"value": 6.04, "low": 5.5, "high": 6.66, "n": 800}
AREA = {"value": 61.0, "low": 60.0, "high": 62.0, "n": 800}


def test_score_table_has_a_line_per_encoder_and_a_dash_for_what_was_not_scored():
    lines = score_table({"fabnet": {"units_auc": AREA, "yaw_mae_deg": YAW}, "hog": {"yaw_mae_deg": YAW}}).splitlines()
    assert lines == [
        "| encoder | yaw ° ↓ | action units AUC ↑ |",
        "|---|---|---|",
        "| fabnet | **6.0** [5.5, 6.7] | **61.0** [60.0, 62.0] |",
        "| hog | **6.0** [5.5, 6.7] | – |",
    ]


def test_a_class_absent_from_the_test_faces_is_said_to_be():
    assert area_table({"fabnet": {"au01": 61.25, "au09": math.nan}}).splitlines()[-1] == "| fabnet | 61.2 | absent |"


def test_report_names_what_ran_and_on_what():
    card = {
        "objective": "fabnet",
        "image_size": 64,
        "params": {"samples": 1000},
        "best_step": 31,
        "best_validation_loss": 0.08349,
        "weights_sha256": "a" * 64,
        "recipe": {"hash": "0123456789abcdef"},
    }
    counts = {
        "index": {"rows": 48, "tracks": 4},
        "rejects": {"reasons": {"too_short": 2, "unreadable": 0}},
        "splits": {"rows": 4, "identities": {"train": 2, "validation": 1, "test": 1}},
        "ledger": {"boxes_clamped": 3},
    }
    limits = {
        "tracks.frames": {"critical": {"passed": True}, "warning": {"passed": False}},
        "tracks.brightness": {"warning": {"passed": True}},
        "sampled.decodes": {"critical": {"passed": True}},
    }
    text = report_markdown(
        {"torch": {"faces": {"fabnet": {"yaw_mae_deg": YAW}}}, "sklearn": {"faces": {"fabnet": {"yaw_mae_deg": YAW}}}},
        {"faces": {"units": {"fabnet": {"au01": 61.25}}}},
        {"fabnet": card},
        {"counts": counts, "limits": limits},
        ["figures/a.png"],
    )
    assert "| fabnet | fabnet | 64 px | 1000 | 31 | 0.0835 | `aaaaaaaaaaaa` | `0123456789abcdef` |" in text
    assert (
        "48 frames of 4 tracks of 4 identities (2 train, 1 validation, 1 test); rejected: 2 too_short; boxes cut"
        in text
    )
    assert "cut back to their frame: 3. Limits of health that were passed, and only warn: tracks.frames." in text
    assert "[the frames](data/frames.html)" in text
    assert "[identities across splits](audit/pairs.html)" in text
    assert "800 test faces" in text
    assert "![figures/a.png](figures/a.png)" in text
