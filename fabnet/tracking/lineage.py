"""Which code, params and inputs a run belongs to, as tags."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fabnet.files import hash_file, hash_json

# DVC rewrites these while the pipeline runs, so they say nothing about the code that ran.
_WRITTEN_BY_THE_PIPELINE = ("dvc.lock", "metrics.json", "reports")


def pipeline_id(name: str, params: Mapping[str, Any], dependencies: Iterable[Path | str]) -> str:
    """Identity of what a stage computes: equal for two runs of equal stage, params and dependencies.

    It plays the part of the stage's entry in dvc.lock, which DVC writes only after the stage has ended.

    Args:
        name: of the stage, such as `train@fabnet`.
        params: those that the stage depends on, resolved.
        dependencies: files that stand for its inputs, such as an index or a table of splits, which hold hashes or
            offsets of everything else. Their bytes count, and their order and names do not.
    """
    return hash_json(
        {"stage": name, "params": dict(params), "inputs": sorted(hash_file(path) for path in dependencies)}
    )


def git_state(root: Path) -> dict[str, str]:
    """`git.commit` (or `none` before the first, or outside a repository) and `git.dirty`.

    Dirty means that a tracked file differs from the commit, apart from those that the pipeline itself writes.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    unchecked = [f":(top,exclude){path}" for path in _WRITTEN_BY_THE_PIPELINE]
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *unchecked)
    return {"git.commit": commit or "none", "git.dirty": "unknown" if changes is None else str(bool(changes)).lower()}


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails or is absent."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
