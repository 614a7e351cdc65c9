"""Continuous integration runs targets of the Makefile and nothing else, and these do what they are there for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fabnet.errors import UserError
from fabnet.quality.schema import export
from fabnet.tracking.gate.commits import compare_pictures, markdown

ROOT = Path(__file__).parents[2]
MAKEFILE = ROOT / "Makefile"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
STEPS = [(name, step) for name, flow in WORKFLOWS.items() for job in flow["jobs"].values() for step in job["steps"]]


def targets(workflow: str) -> list[str]:
    return [step["run"].split()[1] for name, step in STEPS if name == workflow and "run" in step]


# -- the files ------------------------------------------------------------------------------------------------------


def test_every_step_is_a_target_of_the_makefile():
    makefile = MAKEFILE.read_text()
    for _, step in STEPS:
        if "run" in step:
            assert re.fullmatch(r"make [a-z]+", step["run"]), step["run"]
            assert re.search(rf"^{step['run'].split()[1]}:.*## ", makefile, flags=re.MULTILINE), step["run"]


def test_each_workflow_does_its_part():
    assert WORKFLOWS.keys() == {"ci", "metrics", "weekly"}
    assert targets("ci") == ["check", "contracts", "docs", "coverage", "tiny"]
    assert targets("metrics") == ["lock", "metrics"]
    assert targets("weekly") == ["newest"]
    (upload,) = [step for name, step in STEPS if name == "metrics" and "upload-artifact" in step.get("uses", "")]
    assert {".work/summary.md", "reports/"} <= set(upload["with"]["path"].split())
    assert upload["if"] == "always()"


def test_rights_are_the_least_and_actions_are_pinned():
    for flow in WORKFLOWS.values():
        assert flow["permissions"] == {"contents": "read"}
        assert not [job for job in flow["jobs"].values() if "permissions" in job]
    for _, step in STEPS:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
            if "checkout" in step["uses"]:
                assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "what others can write must not become code"


# -- what the targets do --------------------------------------------------------------------------------------------


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@localhost", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, **files: bytes | str) -> None:
        for name, content in files.items():
            path = self.folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", "x", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def make(self, target: str, base: str) -> subprocess.CompletedProcess[str]:
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = ["make", "--file", str(MAKEFILE), "--old-file=.venv/.stamp", f"PATH={binaries}", target]
        environment = os.environ | {"BASE": base}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_contract_that_changed_without_a_new_version_fails(repository: Repository):
    notes = (ROOT / "docs/data-quality.md").read_text()
    before = export()
    repository.write(**{"docs__schemas_dot_json": json.dumps(before), "docs__data-quality_dot_md": notes})
    same = repository.commit()
    before["Splits"]["columns"]["age"] = before["Splits"]["columns"]["split"]
    repository.write(docs__schemas_dot_json=json.dumps(before))
    other = repository.commit()
    assert repository.make("contracts", same).returncode == 0
    done = repository.make("contracts", other)
    assert done.returncode != 0
    assert "Splits: has changed; raise" in done.stderr
    assert repository.make("contracts", "0" * 40).returncode == 0
    done = repository.make("contracts", "absent; touch here")
    assert done.returncode != 0
    assert "no such commit; fetch it" in done.stderr
    assert not (repository.folder / "here").exists()


def test_pictures_that_changed_are_shown_before_and_after(repository: Repository):
    repository.write(**{f"reports__{name}_dot_png": name for name in ("same", "other", "gone")})
    old = repository.commit()
    repository.write(**{"reports__other_dot_png": "new", "reports__a|<b>_dot_png": "x", "reports__a_dot_md": "x"})
    (repository.folder / "reports/gone.png").unlink()
    new = repository.commit()
    found = compare_pictures(repository.folder, old)
    assert found.unchanged == 1
    assert found.changed == {
        "reports/a|<b>.png": (False, True),
        "reports/gone.png": (True, False),
        "reports/other.png": (True, True),
    }
    lines = markdown(found, "https://example.org/o/r/").splitlines()
    assert "| reports/a&#124;&lt;b&gt;.png | - | <img " in lines[4]
    assert f'src="https://example.org/o/r/blob/{new}/reports/a%7C%3Cb%3E.png?raw=true"' in lines[4]
    assert [commit in lines[6] for commit in (old, new)] == [True, True]
    assert "https" not in markdown(found, None)
    assert "None of 3 pictures" in markdown(compare_pictures(repository.folder, "HEAD"), None)
    with pytest.raises(UserError, match="absent: no such commit"):
        compare_pictures(repository.folder, "absent")
