"""The gate: its rules, its error rates, what it refuses to compare, and what a person reads."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fabnet.errors import ConfigError, UserError
from fabnet.probing.intervals import resample_weights, score, weighted_areas, weighted_means
from fabnet.probing.predictions import frame, open_writer
from fabnet.tracking.gate import verdict as words
from fabnet.tracking.gate.commits import judge_commits
from fabnet.tracking.gate.compare import compare, compare_intervals, judge
from fabnet.tracking.gate.evaluation import CannotCompare, Evaluation
from fabnet.tracking.gate.rules import Gate, Gates, Loss, read_gates

ROOT = Path(__file__).parents[2]
ERRORS = ("landmarks68_nme_pct", "landmarks5_nme_pct", "yaw_mae_deg", "pitch_mae_deg", "roll_mae_deg")


def gates(*rules: dict, **others) -> Gates:
    defaults = {"set": "faces", "direction": "lower", "allowed_loss": "1 %"}
    return Gates(encoder="fabnet", resamples=500, gates=tuple(Gate(**{**defaults, **rule}) for rule in rules), **others)


# -- gates.yaml -----------------------------------------------------------------------------------------------------


def test_the_committed_rules_are_valid_and_ask_for_sets_that_params_name():
    rules = read_gates(ROOT / "gates.yaml")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(rules.sets) <= set(params["sets"])
    assert rules.encoder in params["train"]["variants"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("encoder: fabnet\ngates: []", "gates: Tuple should have at least 1 item"),
        ("gates: [", "not valid YAML"),
        ("- 1", "must be a mapping"),
        ("encoder: a\nencoders: b\ngates: [{G}]", "encoders: unknown key"),
        ("encoder: a\ngates: [{G, tolerance: 1}]", "gates.0.tolerance: unknown key"),
        (
            "encoder: a\ngates: [{set: s, metric: yaw_mae, direction: lower, allowed_loss: 1}]",
            "no such metric as yaw_mae",
        ),
        ("encoder: a\ngates: [{set: s, metric: units_auc, direction: lower, allowed_loss: 1}]", "write higher"),
        ("encoder: a\ngates: [{set: s, metric: units_auc, direction: up, allowed_loss: 1}]", "gates.0.direction"),
        ("encoder: a\ngates: [{set: s, metric: yaw_mae_deg, direction: lower, allowed_loss: -1}]", "not negative"),
        ("encoder: a\ngates: [{set: s, metric: yaw_mae_deg, direction: lower, allowed_loss: much %}]", "in percent"),
        ("encoder: a\ngates: [{G, floor: .nan}]", "gates.0.floor"),
        ("encoder: a\ngates: [{G}, {G}]", "yaw_mae_deg of set s has two gates"),
        ("encoder: a\nconfidence: 95\ngates: [{G}]", "confidence"),
    ],
)
def test_a_wrong_rule_is_one_line_that_names_the_key(tmp_path: Path, change: str, message: str):
    path = tmp_path / "gates.yaml"
    path.write_text(change.replace("{G", "{set: s, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %"))
    with pytest.raises(ConfigError) as caught:
        read_gates(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1  # 2 is a regression


def test_a_missing_file_says_what_it_is_for(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file; it says"):
        read_gates(tmp_path / "gates.yaml")


def test_allowed_loss_is_in_units_or_percent_of_the_champion():
    relative, absolute = (gates({"metric": "yaw_mae_deg", "allowed_loss": loss}).gates[0] for loss in ("2 %", 0.2))
    assert relative.allowed_loss == Loss(2, relative=True)
    assert relative.allowed_loss.in_units(8) == pytest.approx(0.16)
    assert absolute.allowed_loss.in_units(8) == 0.2


# -- error rates ----------------------------------------------------------------------------------------------------


class World:
    """500 people, twenty faces each, and models whose errors depend on the person, the face and the model.

    The difference of two equal models has a standard error of 1.2 to 1.4 % of the score; that of fabnet and autoencoder
    on the embedded faces was 1.1 to 1.8 % by metric, extrapolated to 500 people.
    """

    people, faces = 500, 20

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.weights = resample_weights(np.arange(self.people), 500, seed)
        self.labels = self.random.random(self.people) < 0.3

    def pair(self, worse: float, metrics: tuple[str, ...], areas: bool) -> tuple[dict, dict]:
        """Scores of a champion and of a challenger whose errors are `worse` times as large."""
        draw = self.random.normal
        champion, challenger = {}, {}
        person, quirk = draw(size=self.people), [draw(size=self.people) for _ in range(2)]
        for metric in metrics:
            # Metrics of one model share half of what is peculiar to a person, so they go wrong together.
            shared = 0.3 * person[:, None] + 0.5 * draw(size=(self.people, self.faces))
            for side, factor, own in ((champion, 1.0, quirk[0]), (challenger, worse, quirk[1])):
                peculiar = 0.1 * own[:, None] + 0.1 * draw(size=(self.people, 1))
                errors = np.exp(shared + peculiar + 0.5 * draw(size=(self.people, self.faces))).mean(axis=1) * factor
                side["faces", metric] = errors.mean(), weighted_means(errors, self.weights)
        if areas:
            shown = 0.8 * self.labels + draw(size=self.people)
            for side in (champion, challenger):
                scores = shown + 0.5 * draw(size=self.people)
                ones = np.ones((1, self.people))
                side["faces", "units_auc"] = (
                    weighted_areas(scores, self.labels, ones)[0],
                    weighted_areas(scores, self.labels, self.weights),
                )
        return champion, challenger


def blocked(worse: float, count: int, rules: Gates, areas: bool = False, only: str | None = None) -> float:
    """Share of simulated challengers that are refused."""
    world, refused = World(seed=1), 0
    metrics = tuple(gate.metric for gate in rules.gates if gate.metric != "units_auc")
    for _ in range(count):
        champion, challenger = world.pair(1.0 if only else worse, metrics, areas)
        if only:
            challenger["faces", only] = tuple(worse * part for part in challenger["faces", only])
        rows = compare(champion, challenger, rules)
        refused += any(row.worse for row in rows) or not any(row.could_be_better for row in rows)
    return refused / count


ALL = gates(
    *({"metric": metric} for metric in ERRORS), {"metric": "units_auc", "direction": "higher", "allowed_loss": 0.5}
)
NO_LOSS = gates(*({"metric": metric, "allowed_loss": 0} for metric in ERRORS))
ONE = gates({"metric": "yaw_mae_deg", "allowed_loss": 0})


def test_equal_models_are_blocked_in_at_most_5_percent():
    assert blocked(1.0, 300, NO_LOSS) <= 0.05  # 0.025 in 400
    assert blocked(1.0, 400, ONE) <= 0.05
    assert blocked(1.0, 40, ALL, areas=True) <= 0.05


def test_a_model_5_percent_worse_is_blocked_in_at_least_90_percent():
    assert blocked(1.05, 100, gates(*({"metric": metric} for metric in ERRORS))) >= 0.9
    assert blocked(1.05, 200, ONE) >= 0.9


def test_a_model_worse_on_one_metric_alone_is_blocked():
    assert blocked(1.10, 30, ALL, areas=True, only="yaw_mae_deg") >= 0.9


def test_worse_everywhere_is_refused_though_no_loss_is_beyond_what_is_allowed():
    random = np.random.default_rng(0)
    rules = gates({"metric": "yaw_mae_deg", "allowed_loss": "10 %"}, {"metric": "roll_mae_deg", "allowed_loss": "10 %"})
    champion = {("faces", gate.metric): (5.0, 5 + 0.01 * random.normal(size=500)) for gate in rules.gates}
    challenger = {key: (5.2, drawn + 0.2 + 0.01 * random.normal(size=500)) for key, (_, drawn) in champion.items()}
    rows = compare(champion, challenger, rules)
    assert not any(row.worse for row in rows)
    assert not any(row.could_be_better for row in rows)
    better = compare(challenger, champion, rules)
    assert all(row.better for row in better)


def test_intervals_alone_are_the_weaker_rule():
    rules = gates({"metric": "yaw_mae_deg", "allowed_loss": 0}, {"metric": "units_auc", "direction": "higher"})

    def scores(yaw: float, units: float) -> dict:
        values = {"yaw_mae_deg": yaw, "units_auc": units}
        return {("faces", name): {"value": v, "low": v - 0.5, "high": v + 0.5, "n": 9} for name, v in values.items()}

    def worse(*args) -> list[bool]:
        return [row.worse for row in compare_intervals(scores(5, 60), scores(*args), rules)]

    assert worse(5, 60) == [False, False]
    assert worse(5.7, 60) == [False, False]
    assert worse(6, 60) == [True, False]
    assert worse(5, 58) == [False, True]
    (row, _) = compare_intervals(scores(5, 60), scores(5.7, 60), rules)
    # Two independent scores with a standard error of 0.5 / 1.96 each, and 1.5 % for each of two gates.
    assert row.high - row.loss == pytest.approx(2.1701 * np.sqrt(2) * 0.5 / 1.95996, rel=1e-4)


# -- two models on stored predictions -------------------------------------------------------------------------------


def predictions(scale: float, seed: int = 0, people: int = 40, faces: int = 4, noise: float = 0.05) -> pd.DataFrame:
    """Pose and units of an encoder whose errors are `scale` times those of another; labels do not depend on it."""
    fixed, own = np.random.default_rng(7), np.random.default_rng(100 + seed)
    count = people * faces
    ids = [f"face{i:04d}" for i in range(count)]
    table = pd.DataFrame({"face_id": ids, "identity": [f"p{i // faces}" for i in range(count)]})
    truth = fixed.normal(0, 20, size=(count, 3)).astype(np.float32)
    error = fixed.normal(0, 4, size=(2, count, 3)) * (1 + noise * own.normal(size=(2, count, 3)))
    units = (fixed.random((count, 11)) < 0.4).astype(np.float32)
    scores = units + fixed.normal(0, 1, size=(2, count, 11)) + noise * own.normal(size=(2, count, 11))
    points = fixed.normal(32, 10, size=(count, 10)) / 32 - 1
    parts = [
        frame("fabnet", "torch", "pose", table, truth + scale * error, truth, 64),
        frame("fabnet", "torch", "units", table, scores, units, 64),
        frame("fabnet", "torch", "landmarks5", table, np.stack([points + 0.1 * scale] * 2), points, 64),
    ]
    return pd.concat(parts, ignore_index=True)


RULES = gates(
    {"metric": "yaw_mae_deg", "floor": 6},
    {"metric": "landmarks5_nme_pct"},
    {"metric": "units_auc", "direction": "higher", "allowed_loss": 0.5},
)


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


# -- two commits ----------------------------------------------------------------------------------------------------


class Repository:
    """A git repository with metrics.json, and predictions that DVC keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def probe(self, part: pd.DataFrame, resamples: int = 200) -> None:
        path = self.folder / "probes/faces/predictions.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_writer(path) as writer:
            writer.add(part)
        metrics = {"faces": {"fabnet": score(part, resamples, 0)}}
        (self.folder / "metrics.json").write_text(json.dumps(metrics))

    def lock(self, faces: str) -> None:
        deps = [{"path": "data/faces", "md5": faces}, {"path": "embeddings/faces", "md5": faces * 2}]
        (self.folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"probe@faces": {"deps": deps}}}))

    def commit(self) -> None:
        self.git("add", "metrics.json", *(["dvc.lock"] if (self.folder / "dvc.lock").exists() else []))
        self.git("commit", "-qm", "scores")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.probe(predictions(1.0))
    made.lock("aa")
    made.commit()
    return made


def test_commits_by_intervals_where_predictions_are_not_at_hand(repository: Repository):
    repository.probe(predictions(1.0))
    same = judge_commits("main", RULES, repository.folder)
    assert same.passed
    assert same.rule.startswith("intervals of metrics.json, a weaker rule, because predictions of main are not")
    repository.probe(predictions(1.5))
    assert judge_commits("main", RULES, repository.folder).exit_code == 2


def test_commits_with_other_labelled_sets_are_not_compared(repository: Repository):
    repository.lock("bb")
    with pytest.raises(CannotCompare, match="set faces: another evaluation set: data/faces is not the same in main"):
        judge_commits("main", RULES, repository.folder)
    repository.probe(predictions(1.0, people=39))
    with pytest.raises(CannotCompare, match="main was scored on 160 faces and the working tree on 156"):
        judge_commits("main", RULES, repository.folder)


def test_an_unknown_commit_or_encoder_is_not_compared(repository: Repository):
    with pytest.raises(CannotCompare, match="origin/main: no such commit here; fetch it first"):
        judge_commits("origin/main", RULES, repository.folder)
    (repository.folder / "metrics.json").write_text(json.dumps({"faces": {"other": {}}}))
    with pytest.raises(CannotCompare, match="the working tree has no yaw_mae_deg of fabnet"):
        judge_commits("main", RULES, repository.folder)


def test_a_base_without_metrics_leaves_floors(repository: Repository):
    repository.git("rm", "-q", "--cached", "metrics.json")
    repository.git("commit", "-qm", "none")
    verdict = judge_commits("main", RULES, repository.folder)
    assert verdict.champion is None
    assert verdict.passed


def test_metrics_that_are_no_metrics(repository: Repository):
    (repository.folder / "metrics.json").write_text("[1")
    with pytest.raises(UserError, match="not the scores that `report` writes"):
        judge_commits("main", RULES, repository.folder)


def test_commits_by_predictions_from_the_cache_of_dvc(tmp_path: Path):
    """Both models are scored on the same faces; the loss is one that intervals alone do not see."""
    dvc = [shutil.which("dvc", path=str(Path(sys.executable).parent)) or "dvc"]
    made = Repository(tmp_path)
    for command in (["init", "-q"], ["config", "core.analytics", "false"]):
        subprocess.run([*dvc, *command], cwd=tmp_path, check=True, capture_output=True)
    made.probe(predictions(1.0))
    subprocess.run([*dvc, "add", "-q", "probes"], cwd=tmp_path, check=True, capture_output=True)
    made.git("add", ".dvc", "probes.dvc", ".gitignore")
    made.commit()
    made.probe(predictions(1.06, seed=1))
    found = judge_commits("main", RULES, tmp_path)
    assert found.rule.startswith("paired bootstrap over 40 or more identities")
    assert found.exit_code == 2
    shutil.rmtree(tmp_path / ".dvc/cache")
    weaker = judge_commits("main", RULES, tmp_path)
    assert weaker.rule.startswith("intervals")
    assert weaker.exit_code == 0


def test_predictions_that_are_not_those_of_the_committed_scores_are_not_used(repository: Repository):
    repository.probe(predictions(1.0))
    scores = (repository.folder / "metrics.json").read_text()
    repository.probe(predictions(1.5))
    (repository.folder / "metrics.json").write_text(scores)
    verdict = judge_commits("main", RULES, repository.folder)
    assert "predictions of main and of the working tree are not at hand" in verdict.rule
    assert verdict.passed
