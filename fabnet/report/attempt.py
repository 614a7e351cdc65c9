"""A part of a report that fails becomes a gap, and the other parts are made."""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from fabnet.errors import UserError
from fabnet.report.blocks import Block, Gap, Section

T = TypeVar("T")


def attempt(what: str, make: Callable[[], T]) -> T | Gap:
    """What `make` gives or, if it fails, a gap named `what`. Where it is our fault, stderr tells where it happened."""
    try:
        return make()
    except Exception as error:
        if isinstance(error, UserError):
            return Gap(what, str(error))
        traceback.print_exc(file=sys.stderr)
        return Gap(what, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def attempt_section(title: str, anchor: str, make: Callable[[], Section]) -> Section:
    """The section or, if it fails, its heading over a gap."""
    section = attempt(title, make)
    return section if isinstance(section, Section) else Section(title, anchor, [section])


def attempt_blocks(what: str, make: Callable[[], Sequence[Block]]) -> Sequence[Block]:
    """The blocks or, if they fail, a gap."""
    blocks = attempt(what, make)
    return [blocks] if isinstance(blocks, Gap) else blocks


def gaps_of(sections: Iterable[Section]) -> Iterator[Gap]:
    """All gaps, in the order of the report."""
    for section in sections:
        yield from (block for block in section.blocks if isinstance(block, Gap))
        yield from gaps_of(section.sections)


def require_whole(sections: Iterable[Section], where: str) -> None:
    """Raises UserError naming every gap, if there are any; the report at `where` is written by then."""
    gaps = list(gaps_of(sections))
    if gaps:
        named = "; ".join(f"{gap.what}: {gap.why}" for gap in gaps)
        raise UserError(f"{where}: written, but {len(gaps)} part(s) of it could not be made: {named}")
