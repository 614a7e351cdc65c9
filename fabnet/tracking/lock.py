"""dvc.lock: which stages ran on which inputs, params and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fabnet.errors import UserError, one_line
from fabnet.files import hash_json
from fabnet.tracking.lineage import git

# Stages that make a model: from drawn weights, or from those of another model.
TRAINING = ("train", "finetune")


@dataclass(frozen=True)
class Entry:
    """A stage in dvc.lock.

    Attributes:
        name: such as `train@fabnet`.
        id: hash of the whole entry: equal for equal command, inputs, params and outputs.
        deps, outs: DVC's hashes by path.
        params: by dotted key of params.yaml.
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
                {key: value for params in stage.get("params", {}).values() for key, value in params.items()},
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
