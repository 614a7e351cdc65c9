"""What detection and tracking make of real clips, where they are at hand."""

import csv
from pathlib import Path

import pytest

from fabnet.config import ExtractParams
from fabnet.video.clips import Clip
from fabnet.video.decode import frames
from fabnet.video.detect_and_track import detect_and_track
from fabnet.video.faces import Face
from fabnet.video.reject import Rejected

SHARED = Path(__file__).parents[2] / ".." / "shared" / "clips"

pytestmark = [
    pytest.mark.usefixtures("one_opencv_thread"),
    pytest.mark.skipif(not (SHARED / "clips.csv").is_file(), reason="the real clips are not at hand"),
]

#: Close up, a whole body, an angry face, and one before a door.
USABLE = [
    "lp_d0/d0.mp4",
    "lp_s13/s13.mp4",
    "mead_W011/W011_front_angry_level3_001.mp4",
    "pyfeat_single/single_face.mp4",
]
FPS = 4.0


def search(name, every=5):
    """(number of samples, [faces of each track that was kept])"""
    params = ExtractParams.standalone(videos=SHARED, source="folder", fps=FPS, detection={"every": every})
    clip = Clip(SHARED / name, name, "x", "y")
    samples, faces, lost = [], {}, set()

    def film():
        for frame in frames(clip.path, FPS, every=params.detection.every):
            samples.extend(frame.samples)
            yield frame

    for event in detect_and_track(clip, params)(film()):
        if isinstance(event, Face):
            faces.setdefault(event.track.id, []).append(event)
        elif event.rejected is not None:
            lost.add(event.track.id)
    return len(samples), [of_track for name, of_track in faces.items() if name not in lost]


@pytest.mark.parametrize("name", USABLE)
def test_usable_clips_show_one_face_throughout(name):
    with open(SHARED / "clips.csv") as file:
        assert {row["path"]: row["usable"] for row in csv.DictReader(file)}[name] == "yes"
    samples, (faces,) = search(name)
    assert len(faces) >= 0.97 * samples
    sides = [face.box.right - face.box.left for face in faces]
    assert max(sides) < 1.5 * min(sides)


def test_no_face():
    with pytest.raises(Rejected) as rejected:
        search("no_face/no_face.mp4", every=10)
    assert rejected.value.reason == "no_face"


# The face is there before, or after, a cut at 2.4 s or 3.9 s.
@pytest.mark.parametrize(("name", "first_s", "last_s"), [("face_noface", 0.0, 2.4), ("noface_face", 3.9, 6.4)])
def test_partly_no_face(name, first_s, last_s):
    _, (faces,) = search(f"pyfeat_single/{name}.mov", every=10)
    times = [face.time_s for face in faces]
    assert first_s <= times[0] < first_s + 0.3
    assert last_s - 0.3 < times[-1] <= last_s
    assert len(faces) >= 0.97 * 4 * (last_s - first_s) - 1
