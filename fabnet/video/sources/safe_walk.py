"""Walking a folder of data from strangers: in one order, without hidden files, and never out of it."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG

from fabnet.errors import UserError

# Strangers' names have any suffix; those beyond are counted as if they had none.
_MOST_SUFFIXES, _NAMED = 100, 5


class RefusedEntry(UserError):
    """A name below the folder of clips that is not followed. `problem` tells why, and nothing of this machine."""

    def __init__(self, root: Path, name: str, problem: str) -> None:
        super().__init__(root, name, problem)
        self.root, self.name, self.problem = root, name, problem

    def __str__(self) -> str:
        return f"{self.root}: {self.name!r} is {self.problem}"


def sub_folders(root: Path, below: str = "") -> list[str]:
    """Names of the folders directly in `root`/`below`, sorted. Raises UserError as `walk` does.

    Args:
        root: the folder of clips.
        below: a path below it.
    """
    return [name[:-1] for name in _entries(root, below) if name.endswith("/")]


def files(root: Path, below: str, suffixes: tuple[str, ...]) -> list[str]:
    """Names of the files directly in `root`/`below` with one of these (lower-case) suffixes, sorted.

    Args:
        root: the folder of clips.
        below: a path below it.
        suffixes: in lower case, with their dots.
    """
    return [name for name in _entries(root, below) if name.lower().endswith(suffixes)]


def walk(root: Path, suffixes: tuple[str, ...], below: str = "", others: Counter[str] | None = None) -> Iterator[str]:
    """All files below `root`/`below` with one of these suffixes, as paths below `root` with "/".

    The paths come sorted, though no more than the names in one folder and its parents are held at a time. Hidden files
    and folders are passed over.

    Args:
        root: the folder of clips.
        suffixes: in lower case, with their dots.
        below: a path below `root` with "/" at its end; all of `root` by default.
        others: counts the files with other suffixes, by suffix.

    Raises:
        UserError: a folder that cannot be read.
        RefusedEntry: a name that is not UTF-8, a link to a folder, or a link to a file outside `root`.
    """
    for name in _entries(root, below):
        if name.endswith("/"):
            yield from walk(root, suffixes, below + name, others)
        elif name.lower().endswith(suffixes):
            yield below + name
        elif others is not None:
            suffix = PurePosixPath(name).suffix.lower()
            others[suffix if suffix in others or len(others) < _MOST_SUFFIXES else ""] += 1


def by_suffix(others: Counter[str]) -> str:
    """Counts of files for people, such as `3 .txt, 1 without a suffix`; of many suffixes the most frequent ones."""
    kinds = [f"{count} {suffix or 'without a suffix'}" for suffix, count in (+others).most_common()]
    return ", ".join([*kinds[:_NAMED], *["..."] * (len(kinds) > _NAMED)])


def stays_below(root: Path, path: Path) -> bool:
    """Whether a path, after all links, lies below a folder.

    Args:
        root: the folder.
        path: that may be a link or lead through one.
    """
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _entries(root: Path, below: str) -> list[str]:
    """Names in a folder, those of folders with "/" behind them: sorted like that, whole paths come sorted too."""
    if below and not below.endswith("/"):
        below += "/"
    names = []
    try:
        with os.scandir(root / below) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                _check_name(root, below + entry.name)
                if entry.is_symlink():
                    names += _linked(root, below, entry.name)
                elif entry.is_dir():
                    names.append(entry.name + "/")
                elif entry.is_file():  # and no pipe, which would block who opens it
                    names.append(entry.name)
    except OSError as error:
        raise UserError(f"{root / below}: cannot be read: {error.strerror}") from None
    return sorted(names)


def _check_name(root: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RefusedEntry(root, name, "a name that is not UTF-8; rename it") from None


def _linked(root: Path, below: str, name: str) -> list[str]:
    """A link to a file within the root counts as the file. Links to folders could lead in circles."""
    path = root / below / name
    try:
        mode = path.stat().st_mode
    except OSError as error:
        problem = f"a link that leads nowhere ({error.strerror}); remove it"
        raise RefusedEntry(root, below + name, problem) from None
    inside = stays_below(root, path)
    if S_ISDIR(mode):
        where = "within" if inside else "out of"
        problem = f"a link to a folder {where} the folder of clips, which is not followed; put the folder itself there"
        raise RefusedEntry(root, below + name, problem)
    if not inside:
        raise RefusedEntry(
            root, below + name, "a link that leads out of the folder of clips; put the file itself there"
        )
    return [name] if S_ISREG(mode) else []
