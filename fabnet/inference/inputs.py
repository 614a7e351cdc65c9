"""What a person asked to embed: videos, images, and folders of them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fabnet.video.clips import SUFFIXES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Input:
    """A file to embed.

    Attributes:
        name: how the person named it: the argument, or the argument and the path below it.
        size, mtime_ns: of the file, by which a change is noticed.
    """

    path: Path
    name: str
    kind: Literal["video", "image"]
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Bad:
    """An input that gave no rows, and why."""

    name: str
    reason: str


def find_inputs(arguments: Sequence[str | Path]) -> tuple[list[Input], list[Bad]]:
    """The files behind the arguments, in their order, folders sorted folder by folder, each file once.

    A file named itself is taken for an image by its suffix and for a video otherwise; of a folder, only files with a
    video's or an image's suffix are taken. Hidden files are passed over, links to folders not followed.
    """
    inputs: dict[Path, Input] = {}
    bad = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            files = list(_files(path))
            if not files:
                bad.append(Bad(_printable(path), "holds no videos and no images"))
        elif path.is_file():
            files = [path]
        else:
            files = []
            bad.append(Bad(_printable(path), "is no file" if path.exists() else "does not exist"))
        for file in files:
            try:
                file.as_posix().encode()
                status = file.stat()
            except UnicodeEncodeError:
                bad.append(Bad(_printable(file), "its name is not UTF-8; rename it"))
            except OSError as error:
                bad.append(Bad(_printable(file), f"cannot be read: {error.strerror}"))
            else:
                kind: Literal["video", "image"] = "image" if _is(file, IMAGE_SUFFIXES) else "video"
                found = Input(file, file.as_posix(), kind, status.st_size, status.st_mtime_ns)
                inputs.setdefault(file.resolve(), found)
    return list(inputs.values()), bad


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if not name.startswith(".") and _is(path, SUFFIXES + IMAGE_SUFFIXES) and (path.is_file()):
                yield path


def _is(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes


def _printable(path: Path) -> str:
    return path.as_posix().encode(errors="backslashreplace").decode()
