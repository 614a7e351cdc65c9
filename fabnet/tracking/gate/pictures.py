"""The pictures of the report that differ from those of another commit, before and after, as Markdown."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from fabnet.errors import UserError
from fabnet.tracking.lineage import git

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
