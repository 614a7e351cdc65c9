"""Input files: videos, images, and folders of them."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fabnet.errors import UserError
from fabnet.video.clips import SUFFIXES
from fabnet.video.sources.safe_walk import by_suffix

_log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_LISTED = 20


@dataclass(frozen=True)
class Input:
    """A video or an image.

    Attributes:
        name: the argument that named it, or that argument and the path below it.
        size, mtime_ns: of the file, by which a change is noticed.
    """

    path: Path
    name: str
    kind: Literal["video", "image"]
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class BadInput:
    """An input that gave no faces, and why."""

    name: str
    reason: str


def find_inputs(arguments: Sequence[str | Path]) -> tuple[list[Input], list[BadInput]]:
    """The files behind the arguments, in their order, folders sorted folder by folder, each file once.

    A file named itself is taken for an image by its suffix and for a video otherwise; of a folder, only files with a
    video's or an image's suffix are taken, and a warning says how many others there are. Hidden files are passed over,
    links to folders not followed.
    """
    inputs: dict[Path, Input] = {}
    bad = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            others = Counter[str]()
            files = list(_files(path, others))
            if others:
                _log.warning(
                    f"{_printable(path)}: passed over {others.total()} files that are neither videos nor images by "
                    f"their suffix ({by_suffix(others)}); name them to have them read"
                )
            if not files:
                bad.append(BadInput(_printable(path), "holds no videos and no images"))
        elif path.is_file():
            files = [path]
        else:
            files = []
            bad.append(BadInput(_printable(path), "is no file" if path.exists() else "does not exist"))
        for file in files:
            try:
                file.as_posix().encode()
                status = file.stat()
            except UnicodeEncodeError:
                bad.append(BadInput(_printable(file), "its name is not UTF-8; rename it"))
            except OSError as error:
                bad.append(BadInput(_printable(file), f"cannot be read: {error.strerror}"))
            else:
                kind: Literal["video", "image"] = "image" if _is(file, IMAGE_SUFFIXES) else "video"
                found = Input(file, file.as_posix(), kind, status.st_size, status.st_mtime_ns)
                inputs.setdefault(file.resolve(), found)
    return list(inputs.values()), bad


def find_input(path: str | Path, wanted: str) -> Input:
    """The one file behind an argument.

    Args:
        path: of a video or an image.
        wanted: what the error about a folder says besides, such as `a preview shows one video`.

    Raises:
        UserError: it is a folder, or no file that can be read.
    """
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder; {wanted}")
    inputs, bad = find_inputs([path])
    if bad:
        raise UserError(f"{bad[0].name}: {bad[0].reason}")
    return inputs[0]


def listed(bad: Sequence[BadInput]) -> str:
    """The first inputs that gave no faces, in a line."""
    more = f"; and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
    return "; ".join(f"{each.name}: {each.reason}" for each in bad[:_LISTED]) + more


def no_face(bad: Sequence[BadInput]) -> UserError:
    """The error where no input gave a face."""
    return UserError(f"no face in any input: {listed(bad)}")


def _files(folder: Path, others: Counter[str]) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if name.startswith(".") or not path.is_file():
                continue
            if _is(path, SUFFIXES + IMAGE_SUFFIXES):
                yield path
            else:
                others[path.suffix.lower()] += 1


def _is(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes


def _printable(path: Path) -> str:
    return path.as_posix().encode(errors="backslashreplace").decode()
