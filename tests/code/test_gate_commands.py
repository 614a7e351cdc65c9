"""Exit codes of `fabnet gate` and `make gate`: 0 pass, 2 regression, 3 cannot compare, 1 something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gate_scores import predictions
from test_gate_commits import Repository

from fabnet.cli.main import main

ROOT = Path(__file__).parents[2]
RULES = "encoder: fabnet\ngates: [{set: faces, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %, floor: 6}]"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path)
    (tmp_path / "gates.yaml").write_text(RULES)
    made.probe(predictions(1.0))
    made.lock("aa")
    made.commit()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return made


def gate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["fabnet", "gate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


def test_exit_codes(repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert gate(monkeypatch, "--base", "main", "--markdown", "gate.md") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:4] == ["set", "metric", "champion", "challenger"]
    assert "PASSED: the working tree against main" in out
    assert "**PASSED: the working tree against main" in Path("gate.md").read_text()
    assert err == ""

    repository.probe(predictions(1.5))
    assert gate(monkeypatch, "--base", "main") == 2
    assert "REFUSED" in capsys.readouterr().out

    repository.lock("bb")
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


def test_make_gate_compares_with_a_commit_and_writes_the_page(repository: Repository):
    repository.probe(predictions(1.5))
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["make", "--file", str(ROOT / "Makefile"), "--old-file=.venv/.stamp", f"PATH={binaries}", "gate"]
    done = subprocess.run([*command, "BASE=main"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "yaw_mae_deg is worse by more than 1 %" in done.stdout
    assert "**REFUSED" in Path(".work/gate.md").read_text()
