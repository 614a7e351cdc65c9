"""What docs/dvc.md says of remotes and plots, with this project's settings, in small repositories."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from fabnet.figures.curves import loss_table

ROOT = Path(__file__).parents[2]
DVC = shutil.which("dvc", path=str(Path(sys.executable).parent)) or "dvc"


class Repository:
    """A repository of git and DVC with this project's .dvc/config."""

    def __init__(self, folder: Path, origin: "Repository | None" = None) -> None:
        self.folder = folder
        if origin is not None:
            subprocess.run(["git", "clone", "-q", origin.folder, folder], check=True)
            return
        (folder / ".dvc").mkdir(parents=True)
        for name in ("config", ".gitignore"):
            shutil.copyfile(ROOT / ".dvc" / name, folder / ".dvc" / name)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "all")

    def dvc(self, *arguments: str, **environment: str) -> str:
        variables = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")} | environment
        done = subprocess.run([DVC, *arguments], cwd=self.folder, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "one/checkout")
    (made.folder / "weights").write_bytes(b"weights")
    made.dvc("add", "-q", "weights")
    made.commit()
    return made


def test_outputs_travel_through_the_default_remote_beside_the_checkout(repository: Repository, tmp_path: Path):
    repository.dvc("push", "-q")
    assert [path for path in (tmp_path / "one/fabnet-remote").rglob("*") if path.is_file()]
    other = Repository(tmp_path / "one/another", repository)
    assert not (other.folder / "weights").exists()
    other.dvc("pull", "-q")
    assert (other.folder / "weights").read_bytes() == b"weights"


def test_another_remote_by_the_settings_of_the_checkout_or_of_the_environment(repository: Repository, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    repository.dvc("remote", "add", "--local", "--default", "disk", str(here))
    repository.dvc("push", "-q")
    assert here.is_dir()
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "config").write_text(f"['remote \"team\"']\n    url = {there}\n")
    repository.dvc("push", "-q", "--remote", "team", DVC_GLOBAL_CONFIG_DIR=str(settings))
    assert there.is_dir()
    assert not (tmp_path / "one/fabnet-remote").exists()
    repository.git("diff", "--exit-code")  # nothing of this is for git


def test_an_object_store_is_an_extra():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line.partition(">=")[0] for line in extras["s3"]] == ["dvc[s3]"]
    assert "\ndvc-s3==" in (ROOT / "constraints.txt").read_text()


def test_curves_are_plotted_for_a_commit_and_against_it(tmp_path: Path):
    made = Repository(tmp_path / "checkout")
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    ((folder, settings),) = plots[0].items()
    rows = [(step, 10 * step, split, 1 / step, 0.1) for step in (1, 2, 3) for split in ("train", "validation")]
    table = loss_table(pd.DataFrame(rows, columns=["step", "samples", "split", "loss", "learning_rate"]))
    assert {settings["x"], *settings["y"]} <= set(table.columns)
    path = made.folder / folder / "fabnet.csv"
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False)
    made.commit()
    path.write_text(path.read_text().replace("0.5", "0.75"))

    # Of each loss as many points as there are, from one side and from two.
    for command, points in ((["show"], 3), (["diff", "HEAD"], 6)):
        page = made.dvc("plots", *command, "--out", "page").strip().removeprefix("file://")
        text = Path(page).read_text()
        for loss in settings["y"]:
            assert text.count(f'"field": "{loss}"}}') == points
