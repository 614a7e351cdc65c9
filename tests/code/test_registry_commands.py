"""The commands that docs/registry.md shows, in its order, as a person types them."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import tracked_project
from registered_project import aliases, forget_store, make_unregistered

from fabnet.cli.main import main
from fabnet.tracking.registry.versions import CHAMPION

pytestmark = pytest.mark.usefixtures("blank_figures")

PAGE = (Path(__file__).parents[2] / "docs/registry.md").read_text()
RULES = "encoder: fabnet\ngates: [{set: synthetic, metric: yaw_mae_deg, direction: lower, allowed_loss: 1 %, floor: 6}]"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, nothing registered."""
    forget_store(monkeypatch)
    root = make_unregistered(tmp_path / "project", monkeypatch)
    (root / "gates.yaml").write_text(RULES)
    return root


def fabnet(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str, str]:
    """Exit code, output and errors of a command line."""
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0, *capsys.readouterr()


def test_from_runs_to_a_champion_as_the_page_shows(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    block = re.search(r"\n\n((?: {4}.+\n)+)", PAGE)
    assert block
    lines = [line.partition("#")[0].strip() for line in block[1].splitlines()]
    assert lines.pop(0) == "make repro"  # test_pipeline.py
    outputs = {
        "fabnet track sync": "train@fabnet: run rebuilt",
        "fabnet register fabnet": "models:/fabnet/2: registered, challenger",
        "fabnet promote": "champion: models:/fabnet/2",
        "fabnet rollback": "champion: models:/fabnet/1",
        "fabnet lineage models:/fabnet@champion": "ok      version   models:/fabnet/1, weights ",
    }
    assert lines == list(outputs)
    for line in lines[1:3]:  # the champion before
        assert fabnet(line, monkeypatch, capsys)[0] == 0
    tracked_project.make(project, seed=2, scale=0.8)
    for line, expected in outputs.items():
        code, out, err = fabnet(line, monkeypatch, capsys)
        assert code == 0, line
        steps = "12345" if "register" in line else ""
        assert re.findall(r"^fabnet: .* \(step (\d) of 5\)$", err, re.MULTILINE) == list(steps), err
        assert err.count("\n") == len(steps), err
        assert expected in out, line
    assert "BROKEN" not in out
    assert aliases(project) == {CHAMPION: "1"}


def test_a_refused_challenger_is_exit_2_with_the_table_as_a_page(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert fabnet("fabnet register fabnet", monkeypatch, capsys)[0] == 0
    assert fabnet("fabnet promote", monkeypatch, capsys)[0] == 0
    tracked_project.make(project, seed=1, scale=1.3)
    assert fabnet("fabnet register fabnet", monkeypatch, capsys)[0] == 0
    code, out, err = fabnet("fabnet promote --markdown gate.md", monkeypatch, capsys)
    assert (code, err) == (2, "")
    assert "REFUSED: models:/fabnet/2 against models:/fabnet/1" in out
    assert out.endswith("champion: models:/fabnet/1\n")
    assert "| **worse** |" in (project / "gate.md").read_text()
    assert aliases(project)[CHAMPION] == "1"


def test_a_chain_with_a_broken_link_is_exit_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert fabnet("fabnet register fabnet", monkeypatch, capsys)[0] == 0
    (weights,) = (project / "mlartifacts").rglob("best.pt")
    weights.write_bytes(b"0")
    code, out, _ = fabnet("fabnet lineage models:/fabnet@challenger", monkeypatch, capsys)
    assert code == 1
    assert out.startswith("BROKEN  version")
