"""A folder of labelled clips, of each of which one or a few frames are used.

Labels are read from names such as those of MEAD, in the file's name or its folders: a subject (M003, W011) and an
emotion, between underscores; or they are in `labels`, a CSV with the columns clip (its path below the folder),
identity and expression, and split where there is an official one. Without it, splits are a hash of the subject.

Frames lie evenly in a clip: of one, its middle; of n, the middles of n equal parts. A crop is the centred square of
the frame, whose side is `side` of the frame's shorter side.
"""

import re
from pathlib import Path

import av
import av.error
import numpy as np
import pandas as pd

from fabnet.attributes.folder import Annotation, ImageFolder, LeftOut, splits_of
from fabnet.attributes.images import ABSENT, UNREADABLE
from fabnet.attributes.label_files import header_fields, place, read_text
from fabnet.attributes.names import nfc
from fabnet.config import SetParams
from fabnet.errors import UserError, one_line
from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.progress import track
from fabnet.tables import EXPRESSIONS, SPLITS

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")

#: MEAD's words for our expressions.
EMOTIONS = {name: name for name in EXPRESSIONS} | {"angry": "anger", "disgusted": "disgust", "surprised": "surprise"}

_SUBJECT = re.compile(r"[MW][0-9]{3}")


class LabelledClips(ImageFolder):
    """Reader of the folder; the column `image` is a clip's path, `@` and the place of the frame in it, from 0 to 1."""

    def __init__(self, name: str, params: SetParams) -> None:
        super().__init__(name, params, read)

    def image(self, name: str) -> np.ndarray:
        return frame_at(self.file(name), _parts(name)[1])

    def file(self, name: str) -> Path:
        """The clip of a frame that the table names."""
        return self._loaded[1].files.path(_parts(name)[0])

    def sizes(self, said: Annotation, names: list[str]) -> np.ndarray:
        """Width and height of the clips' frames in pixels, and 0 since no frame is turned: int64 (N, 3).

        Args:
            said: what the set's files say.
            names: of the N images, each a frame of a clip; a clip is opened once.
        """
        known: dict[str, tuple[int, int, int]] = {}
        for name in track(names, f"{self.name}: looking at clips", len(names), "frame"):
            clip, _ = _parts(name)
            if clip not in known:
                known[clip] = (*_size(said.files.path(clip)), 0)
        return np.array([known[_parts(name)[0]] for name in names], dtype=np.int64).reshape(-1, 3)


def read(name: str, params: SetParams) -> Annotation:
    """The frames that are used of each clip.

    Args:
        name: of the set; not used.
        params: of the set.

    Raises:
        UserError: a file is absent, or wrong; names it and the line.
    """
    left_out = LeftOut()
    if params.labels is None:
        clips, source = _by_name(params.path, left_out), str(params.path)
    else:
        clips, source = _by_table(params.path / params.labels), str(params.path / params.labels)
    clips["identity"] = nfc(clips["identity"])
    if "split" not in clips:
        clips["split"] = splits_of(clips["identity"], params.seed)
    number = np.tile(np.arange(params.frames), len(clips))
    faces = clips.iloc[np.arange(len(clips)).repeat(params.frames)]
    faces = faces.assign(
        face_id=faces["clip"] + [f"#{each}" for each in number],
        image=faces["clip"] + [f"@{(each + 0.5) / params.frames:.4f}" for each in number],
    )
    faces = faces.drop(columns="clip").astype({"image": "str", "face_id": "str"})
    return Annotation(faces, source, params.path, left_out, whole="centred square", share=params.side)


def labels_in(name: str) -> tuple[str, str] | None:
    """Subject and expression of a clip by its path, None where it does not name exactly one of each."""
    words = [word for word in re.split(r"[_/.\\]", name) if word]
    subjects = {word for word in words if _SUBJECT.fullmatch(word)}
    emotions = {EMOTIONS[word.lower()] for word in words if word.lower() in EMOTIONS}
    if len(subjects) != 1 or len(emotions) != 1:
        return None
    return subjects.pop(), emotions.pop()


def frame_at(path: Path, place: float) -> np.ndarray:
    """The frame of a clip that is on display at a place of it, from 0 (its begin) to 1: uint8 RGB (H, W, 3).

    Args:
        path: of the clip.
        place: share of its duration.

    Raises:
        UserError: the clip cannot be read or decoded so far.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            begin = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
            time = begin + place * _duration(container)
            container.seek(int(time * 1_000_000))  # to the key frame before it
            shown = None
            for frame in container.decode(stream):
                if shown is not None and frame.time is not None and frame.time > time:
                    break
                shown = frame
            if shown is None:
                raise UserError(f"{path}: has no frame at {time:.2f} s")
            return np.asarray(shown.to_ndarray(format="rgb24", interpolation=SAME_EVERYWHERE), dtype=np.uint8)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise UserError(f"{path}: cannot be decoded: {one_line(error, 120)}") from None


def _duration(container: "av.container.InputContainer") -> float:
    """Seconds, as the file announces them."""
    stream = container.streams.video[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000


def _size(path: Path) -> tuple[int, int]:
    """Width and height of a clip's frames; ABSENT or UNREADABLE as for images."""
    if not path.is_file():
        return ABSENT
    try:
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            return (context.width, context.height) if context.width else UNREADABLE
    except (av.error.FFmpegError, IndexError, OSError):
        return UNREADABLE


def _parts(name: str) -> tuple[str, float]:
    clip, _, place = name.rpartition("@")
    return clip, float(place)


def _by_name(path: Path, left_out: LeftOut) -> pd.DataFrame:
    """Columns clip, identity and expression of all clips below a folder."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{path}: holds no clip ({', '.join(SUFFIXES)})")
    rows = []
    for file in files:
        name = file.relative_to(path).as_posix()
        found = labels_in(name)
        if found is None:
            left_out.add("its name does not tell one subject and one emotion", name)
        else:
            rows.append((name, *found))
    clips = pd.DataFrame(rows, columns=["clip", "identity", "expression"]).astype("str")
    return clips.set_index(pd.Index(clips["clip"], name=None))


def _by_table(path: Path) -> pd.DataFrame:
    """The same, and split where the table has it."""
    columns = ["clip", "identity", "expression"]
    table = read_text(path, [*columns, "split"] if "split" in header_fields(path) else columns)
    for column in table:
        empty = (table[column] == "").to_numpy()
        if empty.any():
            raise UserError(f"{place(path, table.index, table.index[empty][0])}: {column} is empty")
    lower = table["expression"].str.lower()
    for column, values, known in (("expression", lower, EMOTIONS), ("split", table.get("split"), SPLITS)):
        if values is not None and not values.isin(list(known)).all():
            row = table.index[~values.isin(list(known)).to_numpy()][0]
            where = place(path, table.index, row)
            raise UserError(f"{where}: {column} is {table[column].loc[row]!r}, not {', '.join(known)}")
    return table.assign(expression=lower.replace(EMOTIONS))
