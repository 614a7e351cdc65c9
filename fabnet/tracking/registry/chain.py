"""The chain behind a registered model: version, run, commit, lock, data, recipe, params, with every link checked."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabnet.errors import UserError
from fabnet.files import hash_file, read_json
from fabnet.probing.readings import read_heads
from fabnet.tracking.lineage import Entry, commit_of, git, parse_lock, read_lock, training_entry
from fabnet.tracking.registry.versions import downloaded, find, label, open_registry
from fabnet.tracking.runs import flatten
from fabnet.tracking.store import project_root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Link:
    """One step of the chain.

    Attributes:
        value: what it leads to.
        broken: what is wrong; empty where the link holds.
    """

    name: str
    value: str
    broken: str = ""

    def line(self) -> str:
        return f"{'BROKEN' if self.broken else 'ok':8}{self.name:10}{self.value}" + (
            f"  ({self.broken})" if self.broken else ""
        )


def lineage(uri: str, root: Path | None = None) -> list[Link]:
    """Every link from a registered model back to code, data and parameters.

    Args:
        uri: models:/fabnet@ALIAS or models:/fabnet/NUMBER.
        root: of the project; None looks for it.

    Raises:
        UserError: there is no such version, or the store failed.
    """
    root = root or project_root()
    with open_registry() as (client, _):
        version = find(client, uri)
        return list(_links(client, version, root))


def _links(client: "MlflowClient", version: "ModelVersion", root: Path) -> Iterator[Link]:
    tags = version.tags
    name = f"{label(version)}, weights {tags.get('weights.sha256', 'unknown')[:12]}"
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(downloaded(client, version))
        except UserError as error:
            yield Link("version", name, str(error))
            return
        yield from _links_from(client, version, root, name, directory)


def _links_from(
    client: "MlflowClient", version: "ModelVersion", root: Path, name: str, directory: Path
) -> Iterator[Link]:
    tags = version.tags
    model = directory / "artifacts/model"
    card = read_json(model / "model.json")
    same = hash_file(model / "best.pt") == card["weights_sha256"] == tags.get("weights.sha256")
    yield Link("version", name, "" if same else "its weights are not those of its tags")
    run = _run(client, version)
    yield _run_link(run, version)
    entry, where, commit = _entry(root, version)
    yield _commit_link(root, commit, where)
    found = f"the training of {tags.get('variant')} in dvc.lock of {where}, entry {tags.get('dvc.lock')}"
    yield Link("lock", found, "" if entry else "no dvc.lock of this repository has this entry")
    yield from _data_links(root, entry, commit, tags)
    yield _recipe_link(card, directory, tags)
    yield _params_link(card, run)


def _run(client: "MlflowClient", version: "ModelVersion") -> "Run | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(version.run_id) if version.run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _run_link(run: "Run | None", version: "ModelVersion") -> Link:
    if run is None:
        return Link("run", str(version.run_id), "no such run; `fabnet track sync` rebuilds it, under another id")
    name = f"{run.info.run_name} {run.info.run_id}"
    if run.info.status != "FINISHED":
        return Link("run", name, f"it is {run.info.status}")
    differing = [key for key in ("weights.sha256", "recipe.hash") if run.data.tags.get(key) != version.tags.get(key)]
    return Link("run", name, f"its {differing[0]} is not the version's" if differing else "")


def _entry(root: Path, version: "ModelVersion") -> tuple[Entry | None, str, str | None]:
    """The entry of dvc.lock that a version names; where it was found; and the commit that holds it."""
    wanted, variant = version.tags.get("dvc.lock"), version.tags.get("variant", "")
    outs = json.loads(version.tags.get("dvc.outs", "{}"))
    commit = commit_of(root, Entry(variant, "", {}, outs, {}))
    # An entry may change and its outputs stay the same, so later commits are looked at too.
    listed = (git(root, "log", "--format=%H", "--", "dvc.lock") or "").split()
    candidates = ([commit] if commit else []) + listed
    for each in dict.fromkeys(candidates):
        text = git(root, "show", f"{each}:./dvc.lock")
        entry = training_entry(parse_lock(text, f"{each}:dvc.lock"), variant) if text else None
        if entry is not None and entry.id == wanted:
            return entry, each[:12], each
    if (root / "dvc.lock").is_file():
        entry = training_entry(read_lock(root), variant)
        if entry is not None and entry.id == wanted:
            return entry, "the working tree", None
    return None, "no commit", None


def _commit_link(root: Path, commit: str | None, where: str) -> Link:
    if commit is None:
        why = (
            "commit dvc.lock" if where == "the working tree" else "git has no commit with this lock; fetch its history"
        )
        return Link("commit", where, why)
    subject = git(root, "log", "-1", "--format=%h %ad %s", "--date=short", commit)
    return Link("commit", subject or commit, "" if subject else "git has no such commit")


def _data_links(root: Path, entry: Entry | None, commit: str | None, tags: Mapping[str, str]) -> Iterator[Link]:
    """What was trained on: the hashes that the stage read are those that earlier stages put out."""
    named = {key: value for key, value in tags.items() if key.startswith("data/")}
    if entry is None:
        yield Link(
            "data", ", ".join(f"{path} {md5[:12]}" for path, md5 in named.items()), "cannot be checked without the lock"
        )
        return
    # The lock of the commit that trained it: that of the working tree may be of other data by now.
    text = git(root, "show", f"{commit}:./dvc.lock") if commit else (root / "dvc.lock").read_text()
    made = {path: md5 for other in parse_lock(text or "").values() for path, md5 in other.outs.items()}
    for path, md5 in entry.deps.items():
        if not path.startswith("data/"):
            continue
        broken = ""
        if named.get(path) != md5:
            broken = "the version's tag names other data"
        elif path in made and made[path] != md5:
            broken = "the stage that writes it has put out something else since"
        yield Link("data", f"{path} {md5}", broken)


def _recipe_link(card: Mapping[str, Any], directory: Path, tags: Mapping[str, str]) -> Link:
    recipe = str(card["recipe"]["hash"])
    broken = "" if tags.get("recipe.hash") == recipe else "the version's tag names another recipe"
    for path in (directory / "artifacts").glob("*.npz"):
        if read_heads(path).meta["recipe_hash"] != recipe:
            broken = f"the probes {path.name} read embeddings of another recipe"
    return Link("recipe", recipe, broken)


def _params_link(card: Mapping[str, Any], run: "Run | None") -> Link:
    wanted = {re.sub(r"[^\w.\-/ :]", "_", key): value for key, value in flatten(card["params"])}
    value = ", ".join(f"{key}={value}" for key, value in wanted.items())
    if run is None:
        return Link("params", value, "cannot be checked without the run")
    differing = sorted(
        key for key in wanted.keys() | run.data.params.keys() if wanted.get(key) != run.data.params.get(key)
    )
    return Link("params", value, f"the run has another {differing[0]}" if differing else "")
