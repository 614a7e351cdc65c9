"""Progress of long work: a bar on a terminal, a line every few seconds in a log, nothing above log level info."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Progress:
    """Counts work done out of `total`. Use as a context manager; call `advance` as work finishes.

    `silent` shows nothing: where one of several processes speaks for all.
    """

    def __init__(
        self, title: str, total: int, unit: str = "it", every_s: float = 5.0, done: int = 0, silent: bool = False
    ) -> None:
        self.title, self.total, self.unit, self.every_s = title, total, unit, every_s
        self.done, self.silent = done, silent
        self._first = done
        self._note = ""
        self._started = self._last = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty() and not self.silent and logger.isEnabledFor(logging.INFO):
            from tqdm import tqdm

            self._bar = tqdm(desc=self.title, total=self.total, initial=self.done, unit=self.unit, leave=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._print()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that more is done.

        Args:
            count: how much, in units.
            note: shown from now on, behind the numbers; empty keeps what is shown.
        """
        self.done += count
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last >= self.every_s:
            self._print()

    def _print(self) -> None:
        if self.silent:
            return
        self._last = time.monotonic()
        rate = (self.done - self._first) / max(self._last - self._started, 1e-9)
        share = 100 * self.done / max(self.total, 1)
        note = f"  {self._note}" if self._note else ""
        logger.info(
            f"{self.title}: {self.done}/{self.total} {self.unit} ({share:.0f} %), {rate:.1f} {self.unit}/s{note}"
        )


def track(items: Iterable[T], title: str, total: int, unit: str = "it") -> Iterator[T]:
    """Iterate over `items`, showing progress.

    Args:
        items: any iterable.
        title: what is done, such as "extract".
        total: how many items there will be.
        unit: what the items are, in the plural.
    """
    with Progress(title, total, unit) as progress:
        for item in items:
            yield item
            progress.advance()
