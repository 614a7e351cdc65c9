"""The gate between two commits: by predictions or by intervals, and the exit codes of `fabnet gate` and `make gate`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import warm_process
import yaml
from gate_scores import RULES, predictions

from fabnet.cli.main import main
from fabnet.errors import UserError
from fabnet.probing.intervals import score
from fabnet.probing.predictions import open_writer
from fabnet.report.training import COPYING
from fabnet.tracking.gate.commits import judge_commits
from fabnet.tracking.gate.compare import CannotCompare


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
    dvc = shutil.which("dvc", path=str(Path(sys.executable).parent)) or "dvc"
    made = Repository(tmp_path)
    made.probe(predictions(1.0))
    for command in (["init", "-q"], ["config", "core.analytics", "false"], ["add", "-q", "probes"]):
        assert warm_process.run([dvc, *command], cwd=tmp_path).returncode == 0, command
    made.git("add", ".dvc", "probes.dvc", ".gitignore")
    made.commit()
    made.probe(predictions(1.06, seed=1))
    clone = tmp_path / "clone"  # where DVC has never been, as in CI
    made.git("clone", "-q", ".", str(clone))
    assert "predictions of main and of the working tree are not at hand" in judge_commits("main", RULES, clone).rule
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


def test_a_working_tree_that_still_copies_is_refused_by_what_its_report_says(repository: Repository):
    rules = RULES.model_copy(update={"below_copying_pct": 2})
    with pytest.raises(CannotCompare, match="the working tree: nothing says how far"):
        judge_commits("main", rules, repository.folder)
    told = repository.folder / COPYING
    told.parent.mkdir(parents=True)
    for below, passed in ((31.0, True), (-0.2, False), (None, True)):
        told.write_text(json.dumps({"fabnet": below, "other": 50.0}))
        assert judge_commits("main", rules, repository.folder).passed == passed
    told.write_text(json.dumps({"fabnet": 1.0}))
    repository.git("rm", "-q", "--cached", "metrics.json")
    repository.git("commit", "-qm", "none")
    assert not judge_commits("main", rules, repository.folder).passed


ROOT = Path(__file__).parents[2]
GATES_YAML = (
    "encoder: fabnet\ngates: [{set: faces, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %, floor: 6}]"
)


@pytest.fixture
def project(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The repository, with rules, as the folder that commands run in."""
    (tmp_path / "gates.yaml").write_text(GATES_YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return repository


def gate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["fabnet", "gate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


def test_exit_codes(project: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert gate(monkeypatch, "--base", "main", "--markdown", "gate.md") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:4] == ["set", "metric", "champion", "challenger"]
    assert "PASSED: the working tree against main" in out
    assert "**PASSED: the working tree against main" in Path("gate.md").read_text()
    assert err == ""

    project.probe(predictions(1.5))
    assert gate(monkeypatch, "--base", "main") == 2
    assert "REFUSED" in capsys.readouterr().out

    project.lock("bb")
    assert gate(monkeypatch, "--base", "main") == 3
    out, err = capsys.readouterr()
    assert err == (
        "error: set faces: another evaluation set: data/faces is not the same in main and the working tree (dvc.lock)\n"
    )
    assert gate(monkeypatch, "--base", "absent") == 3
    assert capsys.readouterr().err.startswith("error: absent: no such commit here; fetch it first")

    Path("gates.yaml").write_text("encoder: fabnet\ngates: []")
    assert gate(monkeypatch, "--base", "main") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_make_gate_compares_with_a_commit_and_writes_the_page(project: Repository):
    project.probe(predictions(1.5))
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["make", "--file", str(ROOT / "Makefile"), "--old-file=.venv/.stamp", f"PATH={binaries}", "gate"]
    done = subprocess.run([*command, "BASE=main"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "yaw_mae_deg is worse by more than 1 %" in done.stdout
    assert "**REFUSED" in Path(".work/gate.md").read_text()
