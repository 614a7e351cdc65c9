"""What no stage makes, in folders that stages fill together, such as `models`, where each variant's stage makes a part.

Stages that read all of it depend on such a folder as a whole (decision 15). DVC then hashes what a removed variant left
there, or what somebody put there, as if it were an input, and two machines undo each other's dvc.lock.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from fabnet.errors import UserError
from fabnet.pipeline import read_pipeline

#: Where leftovers are moved to. Neither git nor DVC looks there.
ASIDE = Path(".work/aside")

#: Folders that stages of dvc.yaml fill together, and what lies below them. No other folder is tidied, even if a stage
#: depends on it as a whole: the data of a labelled set may lie in a folder, such as `data`, that holds outputs, too.
SHARED = tuple(
    PurePosixPath(path)
    for path in (
        *("models", "embeddings", "probes", "supervised", "retrieval"),
        *("reports/sets", "reports/retrieval", "reports/data/sets"),
    )
)

#: Half-written files and folders of running stages (fabnet/files.py), which .dvcignore has DVC overlook.
_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}(\..*)?")


def find_leftovers(root: Path) -> list[PurePosixPath]:
    """Files and folders that no stage makes, in those of SHARED that stages fill and others depend on as a whole.

    Neither what git tracks, which is the same on every machine, nor what a stage reads by itself, such as a labelled
    set. Paths are relative to `root`. Empty where `root` holds no pipeline of DVC.
    """
    if not (root / "dvc.yaml").is_file() or not (root / ".dvc").is_dir():
        return []
    stages = read_pipeline(root)
    outs = {out for stage in stages for out in stage.outs}
    made_in = {parent for out in outs for parent in out.parents}
    deps = {dep for stage in stages for dep in stage.deps}
    # A folder that a stage reads as a whole, and that other stages fill.
    shared = {folder for folder in deps & made_in if any(each in (folder, *folder.parents) for each in SHARED)}
    found = {path for folder in shared for path in _strange(root, folder, outs, made_in)}
    if not found:
        return []
    # Asked last, since git takes its time: data of one's own and files in git are no leftovers.
    used = deps | _tracked(root, found)
    return sorted(found - used - {parent for path in used for parent in path.parents})


def _strange(
    root: Path, folder: PurePosixPath, outs: set[PurePosixPath], made_in: set[PurePosixPath]
) -> Iterator[PurePosixPath]:
    if not (root / folder).is_dir():
        return
    for entry in (root / folder).iterdir():
        path = folder / entry.name
        if path in outs or _TEMPORARY.fullmatch(entry.name):
            continue
        if path in made_in:
            yield from _strange(root, path, outs, made_in)
        else:
            yield path


def _tracked(root: Path, paths: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Files at or below `paths` that git tracks; none outside a repository.

    Raises:
        UserError: git does not say.
    """
    command = ["git", "--literal-pathspecs", "-C", str(root), "ls-files", "-z", "--", *map(str, paths)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"git cannot say what it tracks, so that nothing is moved: {error}") from None
    if done.returncode and "not a git repository" not in done.stderr:
        reason = " ".join(done.stderr.split())
        raise UserError(f"{root}: git cannot say what it tracks, so that nothing is moved: {reason}")
    return {PurePosixPath(path) for path in done.stdout.split("\0") if path}


def check_leftovers(root: Path | None = None) -> None:
    """For stages that depend on a folder which others fill: it holds what they make, and nothing else.

    Raises:
        UserError: it holds more; the message names the first of it and what to do.
    """
    if found := find_leftovers(root or Path.cwd()):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise UserError(
            f"{found[0]}: no stage makes it{more}, but this stage would depend on it; `fabnet tidy` moves it to {ASIDE}"
        )


def move_aside(root: Path) -> list[tuple[PurePosixPath, Path]]:
    """Move leftovers below .work/aside, under a number where something of that name lies there: nothing is lost.

    Returns:
        where each was, relative to `root`, and where it is.
    """
    moved = []
    for path in find_leftovers(root):
        target = first = root / ASIDE / path
        number = 1
        while target.exists():
            number += 1
            target = first.with_name(f"{first.name}.{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(root / path, target)
        moved.append((path, target))
    return moved
