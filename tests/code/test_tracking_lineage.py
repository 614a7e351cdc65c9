import subprocess
from pathlib import Path

from fabnet.tracking.lineage import git_state, output_hash, pipeline_id


def test_pipeline_id_depends_on_stage_params_and_inputs_only():
    identity = pipeline_id("train@fabnet", {"x": 1, "y": Path("a")}, ["1", "2"])
    assert identity == pipeline_id("train@fabnet", {"y": "a", "x": 1}, ["2", "1"])
    others = {
        pipeline_id("train@autoencoder", {"x": 1, "y": "a"}, ["1", "2"]),
        pipeline_id("train@fabnet", {"x": 2, "y": "a"}, ["1", "2"]),
        pipeline_id("train@fabnet", {"x": 1, "y": "a"}, ["1"]),
        pipeline_id("train@fabnet", {"x": 1, "y": "a"}, ["1", "1"]),
    }
    assert len(others | {identity}) == 5


def test_output_hash_is_what_dvc_computes(tmp_path: Path):
    """Against DVC's own functions, which take a second to import."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs import LocalFileSystem

    files = {"b.txt": b"2\r\n", "a/z.bin": b"\x00\xff", "a.txt": b"", "ä/1": "ö".encode()}
    for name, content in files.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fs = LocalFileSystem()
    store = HashFileDB(fs, str(tmp_path / "cache"))
    for path in (tmp_path / "out", tmp_path / "out/b.txt"):
        _, _, built = build(store, str(path), fs, "md5", dry_run=True)
        assert output_hash(path) == built.hash_info.value


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
