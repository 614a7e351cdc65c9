"""The gate between two commits: the working tree against what another commit says of itself.

metrics.json is in git. Predictions are outputs of DVC: those of the working tree are used where they lie there, those
of the other commit where DVC's cache or remote has them. Either counts only if it gives the committed scores;
otherwise the weaker rule on committed intervals has to do, and the verdict says so. Beside the verdict, the report's
pictures that differ are shown before and after.
"""

import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import yaml

from fabnet.errors import TableError, UserError
from fabnet.files import read_json
from fabnet.probing.intervals import score
from fabnet.probing.predictions import PAPER_PREFIX
from fabnet.report.training import COPYING
from fabnet.tracking.gate.compare import (
    CannotCompare,
    Evaluation,
    Verdict,
    compare_intervals,
    copying_of,
    first,
    judge,
    read_evaluation,
)
from fabnet.tracking.gate.rules import Gates
from fabnet.tracking.lineage import git
from fabnet.tracking.store import project_root

Metrics = Mapping[tuple[str, str], Mapping[str, float]]
_SHARE = 1e-4  # by which scores of the same predictions may differ, on other machines


def require_commit(root: Path, base: str) -> str:
    """The full name of the commit `base`.

    Args:
        root: of the repository.
        base: a commit by any name that git knows.

    Raises:
        CannotCompare: there is none of that name.
    """
    return _git(root, base, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").strip()


def file_of(root: Path, base: str, name: str) -> str | None:
    """The text of a file of a commit, None where it has none; `name` is relative to `root`.

    Args:
        root: of the repository.
        base: a commit.
        name: of a file.

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


def judge_commits(base: str, gates: Gates, root: Path | None = None) -> Verdict:
    """Compare the working tree's encoder with that of commit `base`.

    Args:
        base: a commit, as git knows it.
        gates: the rules.
        root: of the project; None looks for it.

    Raises:
        CannotCompare: there is no such commit, or the two were scored on other labelled sets; says which.
        UserError: metrics.json of the working tree is absent or no metrics.
    """
    root = root or project_root()
    path = root / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `make repro` to score the models")
    ours = _metrics(path.read_text(), str(path), gates.encoder)
    require_commit(root, base)
    here = "the working tree"
    text = file_of(root, base, "metrics.json")
    theirs = _metrics(text, f"{base}:metrics.json", gates.encoder) if text is not None else {}
    copying = copying_of(here, _below_copying(root, gates.encoder), gates)
    # Nothing to be worse than: floors alone decide.
    if not theirs:
        return first(here, {key: value["value"] for key, value in ours.items()}, gates, copying)
    _check_probes(theirs, ours, base)
    _check_sets(theirs, ours, base, gates)
    files = {name: Path("probes") / name / "predictions.parquet" for name in gates.sets}
    with TemporaryDirectory() as temporary:
        found = _fetch(root, base, files, Path(temporary))
        champion = _evaluation(base, found, theirs, gates)
        challenger = _evaluation(here, {name: root / file for name, file in files.items()}, ours, gates)
    if champion is not None and challenger is not None:
        return replace(judge(champion, challenger, gates), copying=copying)
    # Without predictions faces cannot be paired; then at least the labels have to be the same.
    _check_labels(root, base, gates)
    without = " and of ".join(side for side, it in ((base, champion), (here, challenger)) if it is None)
    rule = f"intervals of metrics.json, a weaker rule, because predictions of {without} are not at hand"
    return Verdict(base, here, compare_intervals(theirs, ours, gates), rule, copying)


def _below_copying(root: Path, encoder: str) -> float | None:
    """What the report of the working tree says of it (Evaluation.below_copying)."""
    path = root / COPYING
    told = read_json(path) if path.is_file() else {}
    below: float | None = told.get(encoder, math.nan)
    return below


def _metrics(text: str, where: str, encoder: str) -> Metrics:
    """Scores of one encoder by (set, metric)."""
    try:
        sets = json.loads(text)
        return {
            (name, metric): value
            for name, encoders in sets.items()
            for metric, value in encoders.get(encoder, {}).items()
            if {"value", "low", "high", "n"} <= value.keys()
        }
    except (ValueError, AttributeError) as error:
        raise UserError(f"{where}: not the scores that `report` writes: {error}") from None


def _check_probes(theirs: Metrics, ours: Metrics, base: str) -> None:
    """Refuse to compare scores of the regularised probe with those of before 0.2.0, which were of the paper's."""
    for side, other, name in ((theirs, ours, base), (ours, theirs, "the working tree")):
        if _of_both(other) and not _of_both(side):
            raise CannotCompare(
                f"{name}: metrics.json has scores of the paper's probe alone, and the other side those of the "
                "regularised one; run `make repro` there, or name a later commit by BASE="
            )


def _of_both(metrics: Metrics) -> bool:
    return any(metric.startswith(PAPER_PREFIX) for _, metric in metrics)


def _check_sets(theirs: Metrics, ours: Metrics, base: str, gates: Gates) -> None:
    for gate in gates.gates:
        key = (gate.set, gate.metric)
        for side, metrics in ((base, theirs), ("the working tree", ours)):
            if key not in metrics:
                raise CannotCompare(f"set {gate.set}: {side} has no {gate.metric} of {gates.encoder} in metrics.json")
        if theirs[key]["n"] != ours[key]["n"]:
            raise CannotCompare(
                f"set {gate.set}, {gate.metric}: another evaluation set: {base} was scored on {theirs[key]['n']} faces "
                f"and the working tree on {ours[key]['n']}"
            )


def _evaluation(name: str, files: Mapping[str, Path], metrics: Metrics, gates: Gates) -> Evaluation | None:
    """The predictions in files, if all are there and give the scores that were committed."""
    if set(files) != set(gates.sets) or not all(path.is_file() for path in files.values()):
        return None
    try:
        found = read_evaluation(name, files, gates.encoder)
    except TableError:  # of a version of the table that this one does not know
        return None
    for set_name, part in found.sets.items():
        asked = part[part["task"].isin(gates.tasks(set_name))]
        for metric, value in score(asked, 0, 0).items():
            committed = metrics.get((set_name, metric))
            if committed is None or abs(value["value"] - committed["value"]) > _SHARE * abs(committed["value"]):
                return None
    return found


def _check_labels(root: Path, base: str, gates: Gates) -> None:
    """Compare what dvc.lock says of the labelled sets: the weaker rule sees no faces."""
    locks = [file_of(root, base, "dvc.lock"), _text(root / "dvc.lock")]
    if None in locks:
        return
    stages = [yaml.safe_load(str(lock)).get("stages", {}) for lock in locks]
    for name in gates.sets:
        theirs, ours = (_labels(each.get(f"probe@{name}", {}), name) for each in stages)
        if theirs and ours and theirs != ours:
            differing = sorted(path for path in theirs | ours if theirs.get(path) != ours.get(path))
            raise CannotCompare(
                f"set {name}: another evaluation set: {differing[0]} is not the same in {base} and the working tree "
                "(dvc.lock)"
            )


def _labels(stage: Mapping[str, Any], name: str) -> dict[str, str]:
    """Hashes of what a probe stage reads, apart from code and embeddings: the labelled set."""
    others = ("fabnet/", "stages/", f"embeddings/{name}")
    return {d["path"]: d.get("md5", "") for d in stage.get("deps", []) if not d["path"].startswith(others)}


def _fetch(root: Path, base: str, files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Copies of outputs as they were at `base`, from DVC's cache or remote; those that are nowhere are left out."""
    if not (root / ".dvc").is_dir():
        return {}
    import dvc.api  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc_data.index import DataIndexDirError

    found = {}
    for name, file in files.items():
        copy = folder / f"{name}.parquet"
        try:
            with (
                dvc.api.open(file.as_posix(), repo=str(root), rev=base, mode="rb") as source,
                copy.open("wb") as target,
            ):
                while block := source.read(1 << 20):
                    target.write(block)
        except (DvcException, DataIndexDirError, OSError):  # the second: not even the list of a folder's files is there
            continue
        found[name] = copy
    return found


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


_WIDTH = 380


@dataclass(frozen=True)
class Pictures:
    """Paths of PNG files below reports/, as two commits have them.

    Attributes:
        base, head: the full names of the commits.
        changed: {path: (whether `base` has it, whether `head` has it)}, in order.
        unchanged: their number.
    """

    base: str
    head: str
    changed: dict[str, tuple[bool, bool]]
    unchanged: int


def compare_pictures(root: Path, base: str) -> Pictures:
    """What became of the pictures between the commit `base` and the one that is checked out.

    Args:
        root: of the repository.
        base: a commit by any name that git knows.

    Raises:
        UserError: there is no such commit.
    """
    commits = [git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") for name in (base, "HEAD")]
    old, new = (_pictures(root, commit) for commit in commits)
    if commits[0] is None or commits[1] is None or old is None or new is None:
        raise UserError(f"{base}: no such commit; fetch it, or name another one with --base")
    changed = {path: (path in old, path in new) for path in sorted(old.keys() | new) if old.get(path) != new.get(path)}
    return Pictures(commits[0], commits[1], changed, len(new.keys() - changed.keys()))


def _pictures(root: Path, commit: str | None) -> dict[str, str] | None:
    """{path: hash of its content}."""
    listed = git(root, "ls-tree", "-r", "-z", commit, "--", "reports") if commit else None
    if listed is None:
        return None
    entries = (entry.split("\t", 1) for entry in listed.split("\0") if entry)
    return {path: about.split()[2] for about, path in entries if path.endswith(".png")}


def markdown(pictures: Pictures, url: str | None) -> str:
    """The page.

    Args:
        pictures: as `compare_pictures` gives them.
        url: address of the repository's web pages; without it, pictures are only named.
    """
    lines = ["## Pictures", ""]
    if not pictures.changed:
        return "\n".join([*lines, f"None of {pictures.unchanged} pictures of the report has changed.", ""])
    lines += [f"| {len(pictures.changed)} changed, {pictures.unchanged} not | before | after |", "|---|---|---|"]
    for path, present in pictures.changed.items():
        cells = [
            _picture(path, commit, url) if there else "-"
            for commit, there in zip((pictures.base, pictures.head), present, strict=True)
        ]
        lines.append(f"| {escape(path).replace('|', '&#124;')} | {cells[0]} | {cells[1]} |")
    return "\n".join([*lines, ""])


def _picture(path: str, commit: str, url: str | None) -> str:
    if url is None:
        return commit[:12]
    return f'<img width="{_WIDTH}" src="{url.rstrip("/")}/blob/{commit}/{quote(path)}?raw=true">'
