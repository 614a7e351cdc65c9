"""Which code, params, inputs and outputs a run belongs to, as tags."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fabnet.files import hash_json

# DVC rewrites these while the pipeline runs, so they say nothing about the code that ran.
_WRITTEN_BY_THE_PIPELINE = ("dvc.lock", "metrics.json", "reports")


def pipeline_id(name: str, params: Mapping[str, Any], inputs: Iterable[str]) -> str:
    """Identity of what a stage computes: equal for two runs of equal stage, params and inputs.

    It plays the part of the stage's entry in dvc.lock, which DVC writes only after the stage has ended.

    Args:
        name: of the stage, such as `train@fabnet`.
        params: those that the stage depends on, resolved.
        inputs: SHA-256 of files that stand for its inputs, such as an index or a table of splits, which hold hashes or
            offsets of everything else. Their order does not count.
    """
    plain = json.loads(json.dumps(dict(params), default=str))  # what JSON cannot say, such as a Path, as text
    return hash_json({"stage": name, "params": plain, "inputs": sorted(inputs)})


def output_hash(path: Path | str) -> str:
    """The MD5 by which dvc.lock knows an output: of a file's bytes or, for a directory, of the list of its files."""
    path = Path(path)
    if not path.is_dir():
        return _md5(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    text = json.dumps(sorted(listed, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def git_state(root: Path) -> dict[str, str]:
    """`git.commit` (or `none` before the first, or outside a repository) and `git.dirty`.

    Dirty means that a tracked file differs from the commit, apart from those that the pipeline itself writes.
    """
    commit = git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    unchecked = [f":(top,exclude){path}" for path in _WRITTEN_BY_THE_PIPELINE]
    changes = git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *unchecked)
    return {"git.commit": commit or "none", "git.dirty": "unknown" if changes is None else str(bool(changes)).lower()}


def git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails or is absent."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
