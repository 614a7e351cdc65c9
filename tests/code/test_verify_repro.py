"""`fabnet verify` after a repro: a small pipeline that DVC runs, on one machine and on another."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from commands import run_fabnet
from test_dvc import Repository

from fabnet.pipeline import read_pipeline

_MADE = """\
import json, sys, os
from pathlib import Path
import yaml
stage, machine = sys.argv[1], os.environ.get("MACHINE", "")
seed = yaml.safe_load(open("params.yaml"))["seed"]
if stage == "draw":
    Path("drawn.txt").write_text(f"{seed}{os.environ.get('DRAWN', '')}")
elif stage == "train":
    assert "broken" not in machine
    Path("model.txt").write_text("model of " + Path("drawn.txt").read_text() + machine)
else:
    value = len(Path("model.txt").read_text())
    score = {"value": value, "low": value - 0.5, "high": value + 0.5, "n": 9}
    Path("metrics.json").write_text(json.dumps({"faces": {"fabnet": {"yaw_mae_deg": score}}}))
"""
_PIPELINE = {
    "draw": {"cmd": "python made.py draw", "deps": ["made.py"], "params": ["seed"], "outs": ["drawn.txt"]},
    "train": {"cmd": "python made.py train", "deps": ["drawn.txt"], "outs": ["model.txt"]},
    "report": {
        "cmd": "python made.py report",
        "deps": ["model.txt"],
        "metrics": [{"metrics.json": {"cache": False}}],
    },
}


class Reproduced(Repository):
    """A small pipeline, run and committed on one machine; `on` makes it another one."""

    def verify(self, capsys, monkeypatch, *options: str) -> tuple[int, list[str], list[str]]:
        monkeypatch.chdir(self.folder)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        return run_fabnet(monkeypatch, capsys, "verify", *options)

    def repro(self, *targets: str, **environment: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return self.dvc("repro", *targets, PATH=path, **environment)


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Reproduced:
    made = Reproduced(tmp_path_factory.mktemp("origin") / "checkout")
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": _PIPELINE}, sort_keys=False))
    (made.folder / "params.yaml").write_text("seed: 1\n")
    (made.folder / "made.py").write_text(_MADE)
    (made.folder / "verify.yaml").write_text("trained: [train]\nspread: {yaw_mae_deg: 1}\n")
    (made.folder / ".gitignore").write_text("/drawn.txt\n/model.txt\n")
    made.repro()
    made.commit()
    return made


@pytest.fixture
def fresh(committed: Reproduced, tmp_path: Path) -> Reproduced:
    """A clone on a machine that has none of its outputs."""
    return Reproduced(tmp_path / "clone", committed)


def one_line(said: tuple[int, list[str], list[str]]) -> tuple[int, str]:
    code, out, err = said
    assert out == []
    (line,) = err
    return code, line


def test_a_repro_of_the_same_bytes(fresh: Reproduced, capsys, monkeypatch):
    fresh.repro()
    code, out, err = fresh.verify(capsys, monkeypatch)
    assert (code, err) == (0, [])
    assert "REPRODUCED: 3 of 3 stages equal to the byte; 1 scores within tolerance" in out


def test_from_a_folder_of_the_project(fresh: Reproduced, capsys, monkeypatch):
    """The rules are the project's, as all else is; those that are named lie where one is."""
    fresh.repro("draw")
    (fresh.folder / "below").mkdir()
    monkeypatch.chdir(fresh.folder / "below")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    code, out, err = run_fabnet(monkeypatch, capsys, "verify", "--data")
    assert (code, err) == (0, [])
    assert "REPRODUCED: 1 of 1 stages equal to the byte" in out
    code, line = one_line(run_fabnet(monkeypatch, capsys, "verify", "--rules", "verify.yaml"))
    assert (code, line[:31]) == (1, "error: verify.yaml: no such fil")


def test_a_repro_with_other_weights_and_what_becomes_of_its_lock(
    fresh: Reproduced, capsys, monkeypatch, tmp_path: Path
):
    fresh.repro(MACHINE="+")
    page, data = tmp_path / "verify.md", tmp_path / "verify.json"
    code, out, _ = fresh.verify(capsys, monkeypatch, "--markdown", str(page), "--json", str(data))
    assert code == 0
    assert [line.split()[0] for line in out if "differs (as training does" in line] == ["train", "report"]
    assert page.read_text().startswith("# Verify\n")
    assert json.loads(data.read_text())["scores"][0]["here"] == 11
    # As the verdict advises: aside, and back, and the next repro does not train again.
    fresh.git("stash", "push", "dvc.lock", "metrics.json")
    fresh.git("diff", "--exit-code")
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line[:45]) == (3, "error: train: model.txt is not what it made (")
    fresh.git("stash", "pop")
    assert "Running stage" not in fresh.repro(MACHINE="broken")
    # Or this machine becomes the reference.
    fresh.commit()
    code, out, _ = fresh.verify(capsys, monkeypatch)
    assert "REPRODUCED: 3 of 3 stages equal to the byte; 1 scores within tolerance" in out
    code, out, _ = fresh.verify(capsys, monkeypatch, "--base", "HEAD~1")
    assert code == 0
    assert out[-8].startswith("REPRODUCED: 1 of 3 stages equal to the byte, others differ")


def test_other_data_and_other_scores_are_no_reproduction(fresh: Reproduced, capsys, monkeypatch):
    fresh.repro(DRAWN="drawn otherwise")
    code, out, _ = fresh.verify(capsys, monkeypatch)
    assert code == 2
    assert any(line.startswith("NOT REPRODUCED: draw: drawn.txt should not differ (and 1 more)") for line in out)
    code, out, _ = fresh.verify(capsys, monkeypatch, "--data")
    assert code == 2
    assert not any("yaw_mae_deg" in line for line in out)


def test_data_alone(fresh: Reproduced, capsys, monkeypatch):
    code, line = one_line(fresh.verify(capsys, monkeypatch, "--data"))
    assert (code, line) == (3, "error: draw: has not run here: drawn.txt is absent; run `make repro`")
    fresh.repro("draw")
    code, out, _ = fresh.verify(capsys, monkeypatch, "--data")
    assert code == 0
    assert "REPRODUCED: 1 of 1 stages equal to the byte" in out
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line) == (
        3,
        "error: train: has not run here: model.txt is absent (and 1 more stage); run `make repro`, or compare data "
        "alone with --data",
    )


def test_inputs_that_were_added_to_dvc(fresh: Reproduced, capsys, monkeypatch):
    """They are no stages: nothing writes them into dvc.lock; their .dvc files say whether they are the commit's."""
    (fresh.folder / "clips").write_text("of one's own")
    fresh.dvc("add", "-q", "clips")
    pipeline = yaml.safe_load((fresh.folder / "dvc.yaml").read_text())
    pipeline["stages"]["draw"]["deps"].append("clips")
    (fresh.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    assert [each.name for each in read_pipeline(fresh.folder) if each.added] == ["clips.dvc"]
    fresh.repro()
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line) == (3, "error: clips.dvc: HEAD has none: other inputs; name another commit by BASE=")
    fresh.commit()
    for options in ((), ("--data",)):
        code, out, err = fresh.verify(capsys, monkeypatch, *options)
        assert (code, err) == (0, [])
        assert not any("clips" in line for line in out)
    (fresh.folder / "clips").write_text("others")
    fresh.dvc("add", "-q", "clips")
    fresh.repro()
    code, line = one_line(fresh.verify(capsys, monkeypatch, "--data"))
    assert code == 3
    assert line.startswith("error: clips.dvc: does not name the data that it names in HEAD: other inputs; check out")
    (fresh.folder / "clips.dvc").write_text("wdir: [")
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert code == 1
    assert "clips.dvc" in line


def test_what_cannot_be_compared_is_one_line(fresh: Reproduced, capsys, monkeypatch):
    code, line = one_line(fresh.verify(capsys, monkeypatch, "--base", "nowhere"))
    assert (code, line[:36]) == (3, "error: nowhere: no such commit here;")
    fresh.repro()
    saved = (fresh.folder / "dvc.lock").read_text()
    (fresh.folder / "dvc.lock").unlink()
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line) == (3, "error: dvc.lock: no such file; run `make repro`, which writes it")
    (fresh.folder / "dvc.lock").write_text(saved)

    # What lies here is not what the lock says.
    (fresh.folder / "model.txt").write_text("by hand")
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line) == (
        3,
        "error: train: model.txt is not what it made (and 1 more stage); run `make repro`, or compare data alone with "
        "--data",
    )
    # Another profile, run or not.
    (fresh.folder / "params.yaml").write_text("seed: 22\n")
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line[:61]) == (3, "error: draw: params.yaml (seed) has changed since it ran (and")
    fresh.repro()
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line[:59]) == (3, "error: params.yaml: seed is 22 here and 1 in HEAD: another ")

    # Another command.
    (fresh.folder / "params.yaml").write_text("seed: 1\n")
    pipeline = (fresh.folder / "dvc.yaml").read_text()
    (fresh.folder / "dvc.yaml").write_text(pipeline.replace("made.py train", "made.py  train"))
    fresh.repro()
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line[:62]) == (3, "error: dvc.yaml: the command of train is not that of HEAD: ano")

    # A commit before there was a lock.
    fresh.git("rm", "-q", "--cached", "dvc.lock")
    fresh.git("commit", "-qm", "without a lock")
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert (code, line) == (3, "error: HEAD: has no dvc.lock to compare with; name another commit by BASE=")


def test_a_pipeline_that_dvc_cannot_read_is_one_line(fresh: Reproduced, capsys, monkeypatch):
    (fresh.folder / "dvc.yaml").write_text("stages: [")
    code, line = one_line(fresh.verify(capsys, monkeypatch))
    assert code == 1
    assert "dvc.yaml" in line
