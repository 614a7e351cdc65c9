"""Which code, params, inputs and outputs a run or a model comes from: hashes, git, and DVC's lock."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fabnet.errors import UserError, one_line
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
    """What git prints, or None where it fails or is absent.

    Args:
        root: a folder within the repository.
        *arguments: as on git's command line. It has 30 seconds.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


# Stages that make a model: from drawn weights, or from those of another model.
TRAINING = ("train", "finetune")


@dataclass(frozen=True)
class Entry:
    """A stage in dvc.lock.

    Attributes:
        name: such as `train@fabnet`.
        id: hash of the whole entry: equal for equal command, inputs, params and outputs.
        deps, outs: DVC's hashes by path.
        params: by dotted key of params.yaml; those of another file by its name, a colon and the key.
        cmd: its command.
    """

    name: str
    id: str
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    params: Mapping[str, Any]
    cmd: str = ""

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]

    @property
    def key(self) -> str:
        return self.name.partition("@")[2]

    @property
    def trains(self) -> bool:
        """Whether it made models/<key>."""
        return self.kind in TRAINING


def training_entry(entries: Mapping[str, Entry], variant: str) -> Entry | None:
    """The entry of the stage that made models/<variant>.

    Args:
        entries: of dvc.lock, by name.
        variant: of a model.
    """
    return next((entry for entry in entries.values() if entry.trains and entry.key == variant), None)


def parse_lock(text: str, where: str = "dvc.lock") -> dict[str, Entry]:
    """Entries by name.

    Args:
        text: of dvc.lock.
        where: the file, for errors.

    Raises:
        UserError: the text is no lock of DVC's.
    """
    try:
        stages = (yaml.safe_load(text) or {}).get("stages", {})
        return {
            name: Entry(
                name,
                hash_json(stage),
                {each["path"]: each["md5"] for each in stage.get("deps", [])},
                {each["path"]: each["md5"] for each in stage.get("outs", [])},
                {
                    key if file == "params.yaml" else f"{file}: {key}": value
                    for file, params in stage.get("params", {}).items()
                    for key, value in params.items()
                },
                str(stage.get("cmd", "")),
            )
            for name, stage in stages.items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{where}: not a lock of DVC: {type(error).__name__}: {one_line(error, None)}") from None


def parse_added(text: str, where: str) -> dict[str, str]:
    """DVC's hashes, by path beside the .dvc file whose text this is.

    Args:
        text: of a .dvc file.
        where: the file, for errors.

    Raises:
        UserError: the text is no .dvc file.
    """
    try:
        return {each["path"]: each["md5"] for each in yaml.safe_load(text)["outs"]}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{where}: not a .dvc file: {type(error).__name__}: {one_line(error, None)}") from None


def read_lock(root: Path) -> dict[str, Entry]:
    """The entries of dvc.lock in the working tree.

    Raises:
        UserError: there is none.
    """
    path = root / "dvc.lock"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `make repro`, which writes it")
    return parse_lock(path.read_text(), str(path))


def commit_of(root: Path, entry: Entry) -> str | None:
    """The commit that brought an entry's outputs into dvc.lock; None where git knows none.

    Args:
        root: of the repository.
        entry: of dvc.lock.
    """
    output = next(iter(entry.outs.values()), "")
    return git(root, "log", "-1", f"-S{output}", "--format=%H", "--", "dvc.lock") or None if output else None
