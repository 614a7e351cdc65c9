import subprocess
from pathlib import Path

from fabnet.tracking.lineage import git_state, pipeline_id


def test_pipeline_id_depends_on_stage_params_and_bytes_only(tmp_path: Path):
    a, b, copy_of_a = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    a.write_text("1")
    b.write_text("2")
    copy_of_a.write_text("1")
    identity = pipeline_id("train@fabnet", {"x": 1, "y": 2}, [a, b])
    assert identity == pipeline_id("train@fabnet", {"y": 2, "x": 1}, [b, copy_of_a])
    others = {
        pipeline_id("train@autoencoder", {"x": 1, "y": 2}, [a, b]),
        pipeline_id("train@fabnet", {"x": 2, "y": 2}, [a, b]),
        pipeline_id("train@fabnet", {"x": 1, "y": 2}, [a]),
        pipeline_id("train@fabnet", {"x": 1, "y": 2}, [a, copy_of_a]),
    }
    assert len(others | {identity}) == 5


def test_git_state(tmp_path: Path):
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert git_state(tmp_path)["git.commit"] == "none"
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    clean = {"git.commit": git("rev-parse", "HEAD"), "git.dirty": "false"}
    assert git_state(tmp_path) == clean

    (tmp_path / "dvc.lock").write_text("2")  # the pipeline writes it: no change of the code
    assert git_state(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path) == clean | {"git.dirty": "true"}


def test_git_state_outside_a_repository(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {"git.commit": "none", "git.dirty": "unknown"}
