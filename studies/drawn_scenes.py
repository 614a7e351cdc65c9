"""Contact sheets of drawn films in which tracks must begin and end in the right place: docs/pictures/scene-*.png.

    python -m studies.drawn_scenes

Drawn people in a film with cuts, in the inset of a slide, and with heads that roll. Each is written as a video of 10
frames a second, and its sheet is that of `fabnet preview`. They stand for sheets of real clips, which may not be shown.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.config import ExtractParams
from fabnet.figures.pictures import save
from fabnet.inference.preview import Preview, preview
from fabnet.synthetic.identity import Identity
from fabnet.synthetic.motion import Interview
from fabnet.synthetic.render import render
from fabnet.synthetic.videos import interview_of
from fabnet.video.clip_writer import write_clip

OUT = Path("docs/pictures")
RATE, SECONDS, SHOT_S = 10, 12, 4
WIDTH, HEIGHT = 640, 360
Image = NDArray[np.uint8]


@cache
def person(number: int) -> tuple[Identity, Interview]:
    return interview_of(0, number, SECONDS)


def drawn(number: int, time_s: float, side: int) -> Image:
    """A square picture of a drawn person, (side, side, 3).

    Args:
        number: of the person.
        time_s: in the interview.
        side: pixels.
    """
    who, interview = person(number)
    return render(who, interview(time_s), side)


def cuts(time_s: float) -> Image:
    """Two people side by side; then each alone, larger."""
    shot = int(time_s / SHOT_S)
    picture = np.full((HEIGHT, WIDTH, 3), (58, 64, 72), np.uint8)
    if shot == 0:
        for number, left in ((2, 50), (7, 350)):
            picture[60:300, left : left + 240] = drawn(number, time_s, 240)
    else:
        picture[:, 140:500] = drawn((2, 7)[shot - 1], time_s, 360)
    return picture


def inset(time_s: float) -> Image:
    """A slide that stays, and in its corner one speaker after another."""
    picture = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    for row, long in enumerate((300, 340, 260, 320)):
        picture[60 + 60 * row : 72 + 60 * row, 40 : 40 + long] = 60
    picture[30:250, 400:620] = drawn((6, 1, 4)[int(time_s / SHOT_S)], time_s, 220)
    return picture


def roll(time_s: float) -> Image:
    """A head that leans to either side by 40 degrees, moves across and comes closer."""
    share = time_s / SECONDS
    side = round(140 + 160 * share)
    face = drawn(7, time_s, side)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 40 * float(np.sin(4 * np.pi * share)), 1)
    face = np.asarray(cv2.warpAffine(face, turn, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    y, x = np.mgrid[:side, :side] / side - 0.5
    edge = np.clip((0.5 - np.hypot(x, y)) * 12, 0, 1)[..., None]
    picture = np.full((HEIGHT, WIDTH, 3), (96, 120, 110), np.uint8)
    left, top = round((WIDTH - side) * share), (HEIGHT - side) // 2
    place = picture[top : top + side, left : left + side]
    place[:] = (edge * face + (1 - edge) * place).astype(np.uint8)
    return picture


SCENES: dict[str, Callable[[float], Image]] = {"cuts": cuts, "inset": inset, "roll": roll}


def film(path: Path, scene: Callable[[float], Image]) -> None:
    """Write a scene as a video.

    Args:
        path: of an MP4 file.
        scene: picture at a time in seconds.
    """
    with write_clip(path, WIDTH, HEIGHT, Fraction(RATE), Fraction(1, 10 * RATE)) as writer:
        for number in range(RATE * SECONDS):
            writer.add(number / RATE, scene(number / RATE))


def sheets(names: Sequence[str]) -> dict[str, Preview]:
    """The sheets of scenes by their names."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.mp4"
            film(path, SCENES[name])
            found[name] = preview(str(path), ExtractParams.standalone(videos=Path(folder), source="folder"))
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name, found in sheets(list(SCENES)).items():
        save(found.sheet, OUT / f"scene-{name}.png", dpi=80)
        print(f"{name}: {found.frames} samples, tracks: {found.tracks}, rejected: {found.rejects}")


if __name__ == "__main__":
    main()
