"""Why a clip gives no crops, and how much of a machine one clip may take: pixels of a frame, and time."""

import time

#: Pixels of a frame: film of 8K has 33.2 million. A broken header asks for any number, and a decoder keeps 16 frames.
MAX_PIXELS = 2**25


class Rejected(Exception):
    """A clip, not the run, is at fault: it becomes a row of the table of rejects.

    Attributes:
        reason: one of `fabnet.tables.REJECT_REASONS`.
        detail: one short line for people, without the clip's place on this machine.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def check_size(width: int, height: int) -> None:
    """Refuse frames that should not be decoded.

    Args:
        width, height: of a frame, in pixels.

    Raises:
        Rejected: too_large, beyond MAX_PIXELS.
    """
    if width * height > MAX_PIXELS:
        raise Rejected("too_large", f"frames of {width} x {height}, more than {MAX_PIXELS:,} pixels")


class Deadline:
    """When to give up a clip: `limit_s` seconds after this object was made."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._end = time.monotonic() + limit_s

    def check(self) -> None:
        """Raises Rejected (too_slow) once the time is over."""
        if time.monotonic() > self._end:
            raise self.rejected()

    def rejected(self) -> Rejected:
        return Rejected("too_slow", f"not done after {self.limit_s:g} s")
