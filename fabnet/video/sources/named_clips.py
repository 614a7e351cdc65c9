"""Clips of a folder of one's own: by `identity/**/clip.mp4`, or by a table that says who each clip shows."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from fabnet.config import ExtractParams
from fabnet.errors import TableError, UserError
from fabnet.video.clips import SUFFIXES, Clip, Distinct, stem
from fabnet.video.sources.folders import stays_below, walk
from fabnet.video.sources.identities import Identities
from fabnet.video.sources.text_tables import table_rows

LAYOUT = "expected <identity>/<video>/<clip>.mp4 or <identity>/<clip>.mp4 below it"


def named_clips(params: ExtractParams) -> Iterator[Clip]:
    """The clips below extract.videos, by name, or those of extract.clips, in its order.

    Raises:
        UserError: the folder is missing, holds no clips, or holds a clip outside the folder of an identity; or a row of
            the table is wrong.
    """
    root = params.videos
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of videos (extract.videos); {LAYOUT}")
    identities = Identities(root)
    found = _of_table(root, params.clips) if params.clips is not None else _of_folders(root)
    empty = True
    for name, identity in found:
        empty = False
        between = PurePosixPath(name).parent.parts
        if between and params.clips is None:
            between = between[1:]
        yield Clip(root / name, name, identities.of(identity), "/".join(between) or stem(name))
    if empty:
        where = params.clips or root
        raise UserError(f"{where}: holds no clips ({', '.join(SUFFIXES)}); {LAYOUT}")


def named_inputs(params: ExtractParams) -> Iterator[Path]:
    yield from Identities(params.videos).inputs()
    if params.clips is not None:
        yield params.clips


def _of_folders(root: Path) -> Iterator[tuple[str, str]]:
    for name in walk(root, SUFFIXES):
        identity, *below = name.split("/")
        if not below:
            raise UserError(f"{root}: {name} lies in no folder of an identity; {LAYOUT}")
        yield name, identity


def _of_table(root: Path, table: Path) -> Iterator[tuple[str, str]]:
    names = Distinct()
    for number, (name, identity) in table_rows(table, ("clip", "identity")):
        where = f"{table}: line {number}"
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or name != str(path):
            raise TableError(f"{where}: clip {name!r} is no path below {root}")
        if not identity or not identity.isprintable() or "/" in identity or identity in (".", ".."):
            raise TableError(f"{where}: {identity!r} is no identity; it names a person, without '/'")
        if not os.path.isfile(root / name):  # unlike Path's, false also for a name that no file can have
            raise TableError(f"{where}: there is no clip {name} below {root}")
        if not stays_below(root, root / name):
            raise TableError(f"{where}: clip {name} is, or lies behind, a link that leads out of {root}")
        names.add(name)
        yield name, identity
    for one, other in names.candidates():
        (first, line), (second, again) = _row(table, one), _row(table, other)
        if first == second:
            raise TableError(f"{table}: line {again}: clip {first} comes twice, first in line {line}")


def _row(table: Path, number: int) -> tuple[str, int]:
    """Clip of a row, and its line."""
    line, (name, _) = next(islice(table_rows(table, ("clip", "identity")), number, None))
    return name, line
