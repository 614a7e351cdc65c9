"""Files as a commit has them."""

import subprocess
from pathlib import Path

from fabnet.tracking.gate.evaluation import CannotCompare


def require_commit(root: Path, base: str) -> str:
    """The full name of the commit `base`.

    Raises:
        CannotCompare: there is none of that name.
    """
    return _git(root, base, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").strip()


def file_of(root: Path, base: str, name: str) -> str | None:
    """The text of a file of a commit, None where it has none; `name` is relative to `root`.

    Raises:
        CannotCompare: there is no such commit.
    """
    listed = _git(root, base, "ls-tree", "--name-only", base, "--", name)
    return _git(root, base, "show", f"{base}:./{name}") if listed.strip() else None


def _git(root: Path, base: str, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotCompare(f"{base}: git does not run: {error}") from None
    if done.returncode:
        raise CannotCompare(f"{base}: no such commit here; fetch it first (git fetch), or name another by BASE=")
    return done.stdout
