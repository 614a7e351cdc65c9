"""Units whose process died twice: their clips one by one, to lose only the one that kills."""

from collections.abc import Sequence
from dataclasses import replace

from fabnet.files import atomic_directory
from fabnet.video.engines.protocol import Engine
from fabnet.video.part import write_part
from fabnet.video.reject import Rejected
from fabnet.video.unit import Unit, run_unit


def run_apart(units: Sequence[Unit], engine: Engine, workers: int) -> None:
    """Extract units clip by clip, every one in a process of its own.

    A clip whose process dies beside others, which may be for lack of memory, gets another one when nothing else is at
    work. If that dies too, the clip is rejected: crashed.
    """
    clips = [replace(unit, first=unit.first + n, count=1) for unit in units for n in range(unit.count)]
    for at_once in (workers, 1):
        clips = [clip for clip in clips if not clip.out.is_dir()]
        for _ in engine(run_unit, clips, at_once, attempts=1, fresh=True):
            pass
    for unit in units:
        _gather(unit)


def _gather(unit: Unit) -> None:
    """Make the result of a unit of those of its clips."""
    if unit.out.is_dir():  # a unit of one clip that went well in the end
        return
    with atomic_directory(unit.out) as out, write_part(out) as part:
        for number, clip in enumerate(unit.clips(), start=unit.first):
            single = replace(unit, first=number, count=1).out
            if single.is_dir():
                part.add_part(single)
            else:
                detail = "by a crash of the decoder, lack of memory, or a frame that never ends"
                part.add_reject(clip.name, "", Rejected("crashed", f"its process died working on it alone, {detail}"))
        part.finish(unit.first, unit.count)
