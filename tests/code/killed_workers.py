"""Work whose processes are killed on the way, and what comes of it all the same."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from tests.code.clip_files import write_noise


class Killer(Thread):
    """Kills something once when so much is done: `done` counts it, and `kill` says whether it did."""

    def __init__(self, done: Callable[[], int], least: int, kill: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._done, self._least, self._kill, self.done = done, least, kill, False

    def run(self):
        while not self.done:
            if self._done() >= self._least:
                self.done = self._kill()
            time.sleep(0.01)


def units_done(work: Path) -> int:
    """Finished units of an extraction in `work`."""
    return len(list(work.glob("*/unit-*/ledger.parquet")))


def many_clips(root: Path, clips: int) -> Path:
    for number in range(clips):
        write_noise(root / f"p{number % 5}" / f"v{number}.mp4", 150)
    return root


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}
