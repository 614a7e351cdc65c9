"""Links between pages of the site and files of the repository outside docs/.

In the repository a page links to ../reports/results.md or ../metrics.json; both ways of reading should work. Of what
lies outside docs/, pages and pictures that git holds come along into the site, at the same path; other files are named,
not linked.
"""

import os
import posixpath
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
_CARRIED = (".md", ".png", ".html")
#: Where the site has another page in the place of a file.
_INSTEAD = {"README.md": "docs/index.md"}


class Repository:
    """The files that git knows, and what becomes of links to them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        self._known = set(self._git(listed).split("\0")) - {""}

    def carried(self, pages: list[str]) -> list[str]:
        """Paths outside docs/ that pages (paths in the repository) link to, and those that these link to."""
        found: list[str] = []
        waiting = list(pages)
        while waiting:
            page = waiting.pop()
            for target in self._targets(page):
                if self._comes_along(target) and target not in found:
                    found.append(target)
                    waiting += [target] if target.endswith(".md") else []
        return sorted(found)

    def rewrite(self, page: str, markdown: str) -> str:
        """The text of a page with links as the site has them."""
        here = posixpath.dirname(address(page))

        def link(match: re.Match[str]) -> str:
            target = self._resolve(page, match["target"])
            if target is None:
                return match[0]
            if target.startswith("docs/") or self._comes_along(target):
                there = posixpath.relpath(address(target), here or ".")
                return f"{match['image']}[{match['text']}]({there}{match['anchor'] or ''})"
            if target in self._known or self._ignored(target) or any(k.startswith(f"{target}/") for k in self._known):
                return match["text"]
            return match[0]  # leads nowhere; the strict build says so

        return outside_code(markdown, lambda text: _LINK.sub(link, text))

    def _targets(self, page: str) -> list[str]:
        found: list[str] = []

        def note(text: str) -> str:
            resolved = (self._resolve(page, match["target"]) for match in _LINK.finditer(text))
            found.extend(each for each in resolved if each)
            return text

        outside_code((self.root / page).read_text(), note)
        return found

    def _resolve(self, page: str, target: str) -> str | None:
        """The path in the repository that a link leads to; None for addresses."""
        if re.match(r"[a-z]+:", target):
            return None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        return _INSTEAD.get(path, path)

    def _comes_along(self, target: str) -> bool:
        return target in self._known and not target.startswith("docs/") and target.endswith(_CARRIED)

    def _ignored(self, target: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", target], cwd=self.root).returncode == 0

    def _git(self, command: list[str]) -> str:
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout


def address(path: str) -> str:
    """Where the site has a file of the repository: docs/ is its root."""
    return path.removeprefix("docs/")


def origin(source: str, root: Path) -> str:
    """The reverse of `address`."""
    return f"docs/{source}" if os.path.exists(root / "docs" / source) else source


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Markdown with what is neither in a fenced block nor indented as code changed, line by line."""
    lines, fence = [], ""
    for line in markdown.split("\n"):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence and not line.startswith("    "):
            line = change(line)
        lines.append(line)
    return "\n".join(lines)
