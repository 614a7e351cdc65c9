"""Tracks of one person in films where a cut changes only a part of the picture.

`python studies/partial_cuts.py FOLDER` makes such films, in memory, of a folder of real clips with a table `clips.csv`
(path, identity, usable), and tells how many tracks each gives, how many of these show two people, and how many changes
of person are said (`clips_swapped` of the ledger); last, in how many of the clips themselves, which have none, one is.
Nothing of the clips is written.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.detect_and_track import detect_and_track
from fabnet.video.faces import Face, Frame, TrackEnd

RATE, SECONDS, SHOWN_S = 25, 9, 3
_LOWER_SIDE = 360
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """A part of the picture that shows one person after another.

    Attributes:
        left, top, side: of the square, in pixels.
        people: clips, in their order; each stays for SHOWN_S seconds.
    """

    left: int
    top: int
    side: int
    people: tuple[int, ...]

    def person(self, time_s: float) -> int:
        return self.people[int(time_s / SHOWN_S) % len(self.people)]


@dataclass(frozen=True)
class Film:
    name: str
    width: int
    height: int
    backdrop: Callable[[float], Image]
    windows: tuple[Window, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    clips = _one_per_person(folder)
    params = ExtractParams.standalone(videos=folder, source="folder", fps=5, workers=1)
    print("| film | changes of person | said | tracks | with two people | at once for one face | share of samples |")
    print("|---|---|---|---|---|---|---|")
    for film in _films(len(clips)):
        tracks: dict[str, list[tuple[float, int, int]]] = {}
        said = 0
        for event in detect_and_track(Clip(folder, "film", "film", "film"), params)(_frames(film, clips, params)):
            if isinstance(event, Face):
                x, y = (event.box.left + event.box.right) / 2, (event.box.top + event.box.bottom) / 2
                place, person = _shown(film, x, y, event.time_s)
                tracks.setdefault(event.track.id, []).append((event.time_s, place, person))
            else:
                said += event.replaced
        two = sum(len({person for _, _, person in faces}) > 1 for faces in tracks.values())
        seen = [(time, place) for faces in tracks.values() for time, place, _ in faces]
        changes = sum(len(window.people) > 1 for window in film.windows) * (SECONDS // SHOWN_S - 1)
        share = len(set(seen)) / (len(film.windows) * SECONDS * params.fps)
        twice = len(seen) - len(set(seen))
        print(
            f"| {film.name} | {changes} | {said} | {len(tracks)} | {two} | {twice} | {100 * share:.0f} % |", flush=True
        )
    with_one = sum(_says_change(path, params) for path in clips)
    print(f"of the {len(clips)} clips themselves, a change of person is said in {with_one}")


def _says_change(path: Path, params: ExtractParams) -> bool:
    shown = frames(path, params.fps, params.detection.every)
    events = detect_and_track(Clip(path, path.name, "clip", "clip"), params)(shown)
    return any(isinstance(event, TrackEnd) and event.replaced for event in events)


def _one_per_person(folder: Path) -> list[Path]:
    with open(folder / "clips.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["usable"] == "yes"]
    return [folder / path for path in {row["identity"]: row["path"] for row in rows}.values()]


def _films(people: int) -> list[Film]:
    """Before one wall are the three last but two of the table (MEAD)."""
    mead = tuple(range(people - 5, people - 2))
    grey = _plain(235)
    left, right = partial(Window, 20, 50, 300), partial(Window, 420, 50, 300)
    four = [(0, 3), (8,), mead[:2], (11,)]
    windows = tuple(Window(20 + 310 * (n % 2), 20 + 310 * (n // 2), 290, people) for n, people in enumerate(four))
    return [
        Film("call, another speaker in one window", 640, 360, grey, (Window(170, 30, 300, (0, 1, 2)),)),
        Film("slide with an inset", 960, 540, _slide, (Window(660, 20, 280, (3, 4, 5)),)),
        Film("three people before one wall", 256, 256, grey, (Window(0, 0, 256, mead),)),
        Film("inset before a film that moves", 640, 360, _moving, (Window(20, 160, 180, (6, 7, 8)),)),
        Film("two windows, one changes", 800, 400, grey, (left((9,)), right((10, 11, 12)))),
        Film("two windows, both change", 800, 400, grey, (left((13, 2, 5)), right((1, 4, 7)))),
        Film("four windows, two change", 640, 640, _slide, windows),
    ]


def _plain(grey: int) -> Callable[[float], Image]:
    return lambda time_s: np.full((1, 1, 3), grey, np.uint8)


def _slide(time_s: float) -> Image:
    picture = np.full((54, 96, 3), 250, np.uint8)
    picture[8:11, 6:46], picture[14:16, 6:54] = 20, 120
    return picture


def _moving(time_s: float) -> Image:
    y, x = np.mgrid[:90, :160]
    wave = np.sin(x / 9 + 4 * time_s) + np.cos(y / 7 - 3 * time_s)
    return np.stack([120 + 50 * wave, 90 + 40 * wave, 140 - 50 * wave], -1).astype(np.uint8)


def _frames(film: Film, clips: list[Path], params: ExtractParams) -> Iterator[Frame]:
    people = {person for window in film.windows for person in window.people}
    playing = {person: _looped(clips[person]) for person in people}
    for number in range(RATE * SECONDS):
        time_s = number / RATE
        # The film behind is interpolated smoothly, a window's edges are hard.
        picture = cv2.resize(film.backdrop(time_s), (film.width, film.height), interpolation=cv2.INTER_LINEAR)
        now = {person: next(images) for person, images in playing.items()}
        for window in film.windows:
            image = now[window.person(time_s)]
            side = min(image.shape[:2])
            top, left = (image.shape[0] - side) // 5, (image.shape[1] - side) // 2
            cut = cv2.resize(
                image[top : top + side, left : left + side], (window.side, window.side), None, 0, 0, cv2.INTER_AREA
            )
            picture[window.top : window.top + window.side, window.left : window.left + window.side] = cut
        samples = (round(time_s * params.fps),) if number % round(RATE / params.fps) == 0 else ()
        looked_at = number % params.detection.every == 0
        if samples or looked_at:
            yield Frame(time_s, samples, looked_at, picture)


def _looped(clip: Path) -> Iterator[Image]:
    """The frames of a clip at RATE, forwards and backwards, so that it has no cut."""
    images = []
    for frame in frames(clip, RATE):
        scale = _LOWER_SIDE / min(frame.image.shape[:2])
        images += [cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)] * len(frame.samples)
    while True:
        yield from images
        yield from images[-2:0:-1]


def _shown(film: Film, x: float, y: float, time_s: float) -> tuple[int, int]:
    """Number of the nearest window to a point, and who is in it."""
    distance = [max(abs(x - w.left - w.side / 2), abs(y - w.top - w.side / 2)) for w in film.windows]
    nearest = int(np.argmin(distance))
    return nearest, film.windows[nearest].person(time_s)


if __name__ == "__main__":
    main()
