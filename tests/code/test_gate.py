"""Two models on stored predictions: the verdict, what is not compared, and what a person reads."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gate_scores import RULES, predictions

from fabnet.probing.intervals import score
from fabnet.tracking.gate import compare as words
from fabnet.tracking.gate.compare import CannotCompare, Evaluation, judge


def side(name: str, part: pd.DataFrame) -> Evaluation:
    return Evaluation(name, {"faces": part})


def test_equal_better_and_worse_models():
    champion = side("v1", predictions(1.0))
    equal = judge(champion, side("v2", predictions(1.0, seed=1)), RULES)
    assert (equal.exit_code, [row.better for row in equal.rows]) == (0, [False] * 3)
    better = judge(champion, side("v2", predictions(0.8, seed=1)), RULES)
    assert better.exit_code == 0
    assert better.rows[0].better
    worse = judge(champion, side("v2", predictions(1.2, seed=1)), RULES)
    assert worse.exit_code == 2
    assert worse.reasons[0] == "faces: yaw_mae_deg is worse by more than 1 %"
    assert "worse" in words.text(worse)


def test_a_model_against_itself_loses_nothing():
    same = judge(side("v1", predictions(1.0)), side("v1 again", predictions(1.0)), RULES)
    assert same.passed
    assert [(row.loss, row.low, row.high) for row in same.rows] == [(0, 0, 0)] * 3


def test_rows_hold_the_scores_of_metrics_json():
    part = predictions(1.1)
    verdict = judge(side("v1", predictions(1.0)), side("v2", part), RULES)
    expected = score(part, 0, 0)
    assert [row.challenger for row in verdict.rows] == [expected[row.gate.metric]["value"] for row in verdict.rows]


def test_floor_holds_against_the_first_and_any_other_champion():
    bad = side("v1", predictions(3.0))
    assert judge(None, side("v1", predictions(1.0)), RULES).passed
    for champion in (None, side("v0", predictions(3.0, seed=2))):
        verdict = judge(champion, bad, RULES)
        assert verdict.exit_code == 2
        assert "must be 6 or lower" in verdict.reasons[0]


def _without_faces(part: pd.DataFrame) -> pd.DataFrame:
    return part[part["face_id"] != "face0003"]


def _other_labels(part: pd.DataFrame) -> pd.DataFrame:
    part = part.copy()
    change = (part["face_id"] == "face0003") & (part["task"] == "pose")
    part.loc[change, "target"] = part.loc[change, "target"].map(lambda label: label + 1)
    return part


def _other_people(part: pd.DataFrame) -> pd.DataFrame:
    return part.assign(identity=part["identity"].replace("p1", "p0"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _without_faces,
            "set faces, task pose: another evaluation set: v1 was scored on 160 faces and v2 on 159; 1 are ",
        ),
        (_other_labels, "another evaluation set: the labels of 1 of 160 faces differ (first: face0003)"),
        (_other_people, "another evaluation set: the same faces belong to other identities"),
        (lambda part: part[part["task"] != "units"], "v2 has no predictions of task units"),
    ],
)
def test_what_was_scored_on_another_set_is_not_compared(change, message: str):
    with pytest.raises(CannotCompare) as caught:
        judge(side("v1", predictions(1.0)), side("v2", change(predictions(1.0))), RULES)
    assert message in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_set_that_one_side_was_not_scored_on():
    with pytest.raises(CannotCompare, match="set faces: v2 has no predictions on it"):
        judge(side("v1", predictions(1.0)), Evaluation("v2", {}), RULES)


def test_landmarks_of_another_crop_are_the_same_labels():
    """The same faces cut with a margin: all points lie closer together and elsewhere."""

    def cut(points: np.ndarray) -> np.ndarray:
        return points * 0.8 + 5

    other = predictions(1.0)
    rows = other["task"] == "landmarks5"
    for column in ("target", "prediction"):
        other.loc[rows, column] = other.loc[rows, column].map(cut)
    verdict = judge(side("v1", predictions(1.0)), side("v2", other), RULES)
    assert verdict.rows[1].loss == pytest.approx(0, abs=1e-4)


def test_markdown_says_the_same_as_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    verdict = judge(side("v1", predictions(1.0)), side("v2", predictions(1.2, seed=1)), RULES)
    path = tmp_path / "gate.md"
    assert words.report(verdict, path) == 2
    page, table = path.read_text(), capsys.readouterr().out
    assert page.splitlines()[0] == "# Gate"
    assert words.summary(verdict) in page
    assert words.summary(verdict) in table
    header, line, *rows = [each for each in page.splitlines() if each.startswith("|")]
    assert [each.count("|") for each in (line, *rows)] == [header.count("|")] * 4
    assert "**worse**" in rows[0]
    assert "too few to see" in words.text(
        judge(side("a", predictions(1, people=3)), side("b", predictions(1, 5, 3, noise=2)), RULES)
    )
