"""Clips of a folder or a table: names, order, links, and lists of more clips than memory should hold."""

import os
import re
from collections import Counter
from pathlib import Path

import av
import pytest

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.faces.inputs import find_inputs
from fabnet.video.clips import SUFFIXES, Clip, ClipList
from fabnet.video.reject import Rejected
from fabnet.video.sources.open import open_source
from fabnet.video.sources.safe_walk import RefusedEntry, walk
from tests.code.clip_files import write_clip, write_pictures
from tests.code.travelling import sent


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, **params) -> list[Clip]:
    """Through a pickled source and a file of clips, as a run does."""
    source = open_source(ExtractParams.standalone(videos=root, **params), root)
    clips = ClipList.write(sent(source).list_clips(), root.parent / "clips.arrow")
    return clips.slice(0, len(clips))


def refused(root: Path, message: str, **params) -> None:
    with pytest.raises(UserError, match=message) as error:
        listed(root, **params)
    assert "\n" not in str(error.value)
    assert not (root.parent / "clips.arrow").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such folder of videos"),
        ([], "holds no clips"),
        (["ann/notes.txt", "ann/.a.mp4", ".ann/a.mp4"], "holds no clips"),
        (["a.mp4"], "a.mp4 lies in no folder of an identity; expected <identity>/"),
        (["ann/a.mp4", "ann/a.MOV"], "ann/a.MOV and ann/a.mp4 would share the track ann/a/a/0"),
        (["ann/a b.mp4", "ann/a_b.mp4"], "would share the track"),
    ],
)
def test_bad_folder(tmp_path, files, message):
    root = tmp_path / "videos"
    if files is not None:
        root.mkdir()
    refused(touch(root, *files or []), f"videos: .*{re.escape(message)}")


@pytest.mark.parametrize("source", ["cropped", "folder"])
def test_names_of_clips(tmp_path, source):
    root = touch(tmp_path / "videos", "ann/v1/x.mp4", "ann/x.mp4", "ann/a/b/y.MKV", "bob c/z z.webm", "é ü/名前.mp4")
    clips = listed(root, source=source)
    assert [(clip.name, clip.identity, clip.video, clip.track(0).id) for clip in clips] == [
        ("ann/a/b/y.MKV", "ann", "a/b", "ann/a/b/y/0"),
        ("ann/v1/x.mp4", "ann", "v1", "ann/v1/x/0"),
        ("ann/x.mp4", "ann", "x", "ann/x/x/0"),
        ("bob c/z z.webm", "bob c", "z z", "bob_c/z_z/z_z/0"),
        ("é ü/名前.mp4", "é ü", "名前", "é_ü/名前/名前/0"),
    ]
    assert all(clip.path == root / clip.name for clip in clips)
    track = clips[3].track(2)
    assert (track.id, track.identity, track.video) == ("bob_c/z_z/z_z/2", "bob c", "z z")


def test_clips_with_odd_names_are_decoded(tmp_path):
    write_clip(tmp_path / "videos" / "é ü" / "名 前.mp4", [0, 1000])
    source = open_source(ExtractParams.standalone(videos=tmp_path / "videos"), tmp_path)
    (clip,) = source.list_clips()
    faces = list(source.find(clip)(source.frames(clip)))
    assert [(face.track.id, face.number) for face in faces] == [("é_ü/名_前/名_前/0", 0), ("é_ü/名_前/名_前/0", 1)]
    assert {(face.box.left, face.box.top, face.box.right, face.box.bottom) for face in faces} == {(8, 0, 56, 48)}


def test_folder_looks_for_faces(tmp_path):
    """In a clip without one, which the centred square would have taken."""
    write_clip(tmp_path / "videos" / "ann" / "grey.mp4", [0, 500, 1000])
    source = open_source(ExtractParams.standalone(videos=tmp_path / "videos", source="folder"), tmp_path)
    (clip,) = source.list_clips()
    with pytest.raises(Rejected) as error:
        list(source.find(clip)(source.frames(clip)))
    assert error.value.reason == "no_face"


def test_order_is_that_of_the_whole_names(tmp_path):
    names = ["a/x.mp4", "a b/x.mp4", "a-b/x.mp4", "a.mp4", "ab/x.mp4", "Z/x.mp4", "a/é/x.mp4", "a/e.mp4", "a/e/y.mp4"]
    touch(tmp_path, *names)
    assert list(walk(tmp_path, (".mp4",))) == sorted(names)


def test_what_is_no_video_is_counted(tmp_path):
    root = touch(
        tmp_path / "videos", "ann/a.mp4", "ann/b.MPG", "ann/v/c.flv", "ann/notes.txt", "bob/d.wav", "bob/e.TXT", "f"
    )
    touch(root, ".hidden", "ann/.DS_Store")
    (root / "boxes.csv").write_text("clip,time_s,left,top,right,bottom\nann/a.mp4,0,0,0,9,9\n")
    params = ExtractParams.standalone(videos=root, source="boxes", boxes=root / "boxes.csv")
    others = Counter[str]()
    clips = list(open_source(params, tmp_path).list_clips(others))
    assert [clip.name for clip in clips] == ["ann/a.mp4", "ann/b.MPG", "ann/v/c.flv"]
    assert +others == {".txt": 2, ".wav": 1, "": 1}


def test_many_suffixes_do_not_fill_memory(tmp_path):
    others = Counter[str]()
    touch(tmp_path, *(f"a.{number:x}" for number in range(150)))
    assert list(walk(tmp_path, (".mp4",), others=others)) == []
    assert others.total() == 150
    assert len(others) <= 101


#: A codec that each container holds.
CONTAINERS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".flv", ".ts", ".mts", ".m2ts"), "libx264"),
    ".3gp": "mpeg4",
    ".3g2": "mpeg4",
    ".avi": "mpeg4",
    ".divx": "mpeg4",
    ".webm": "libvpx",
    ".wmv": "wmv2",
    ".asf": "wmv2",
    ".mpg": "mpeg1video",
    ".mpeg": "mpeg2video",
    ".m2v": "mpeg2video",
    ".vob": "mpeg2video",
    ".ogv": "libtheora",
    ".mxf": "mpeg2video",
    ".dv": "dvvideo",
}


def test_every_suffix_is_that_of_a_container_that_is_read():
    assert set(CONTAINERS) == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_clips_of_any_container(tmp_path, suffix):
    codec, size = CONTAINERS[suffix], (720, 576) if suffix == ".dv" else (176, 144)
    if codec == "libtheora" and "libtheora" not in av.codecs_available:
        pytest.skip("this build of PyAV does not write it")
    other = {".divx": ".avi", ".dv": ".dv"}.get(suffix, suffix)
    path = write_pictures(tmp_path / f"videos/ann/a{other}", list(range(30)), codec, size)
    path = path.rename(path.with_suffix(suffix))
    params = ExtractParams.standalone(videos=tmp_path / "videos", image_size=16)
    source = open_source(params, tmp_path)
    (clip,) = source.list_clips()
    shown = list(source.frames(clip))
    assert [frame.samples for frame in shown] == [(0,), (1,)]
    assert shown[0].image.std() > 20
    assert [each.path for each in find_inputs([tmp_path / "videos"])[0]] == [path]


def test_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "videos" / "ann").mkdir(parents=True)
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/videos/ann/\xff\xfe.mp4"))).touch()
    refused(tmp_path / "videos", r"videos: 'ann/\\udcff\\udcfe\.mp4' is a name that is not UTF-8; rename it")


class TestLinks:
    def test_to_a_file_within(self, tmp_path):
        root = touch(tmp_path / "videos", "ann/a.mp4")
        (root / "bob").mkdir()
        (root / "bob" / "b.mp4").symlink_to("../ann/a.mp4")
        assert [clip.name for clip in listed(root)] == ["ann/a.mp4", "bob/b.mp4"]

    def test_the_folder_of_clips_itself(self, tmp_path):
        touch(tmp_path / "elsewhere", "ann/a.mp4")
        (tmp_path / "videos").symlink_to("elsewhere")
        assert [clip.name for clip in listed(tmp_path / "videos")] == ["ann/a.mp4"]

    def test_to_a_file_outside(self, tmp_path):
        touch(tmp_path, "secret.mp4", "videos/ann/a.mp4")
        (tmp_path / "videos" / "ann" / "b.mp4").symlink_to(tmp_path / "secret.mp4")
        refused(tmp_path / "videos", r"videos: 'ann/b\.mp4' is a link that leads out of the folder of clips")

    def test_to_a_folder_outside(self, tmp_path):
        touch(tmp_path, "secret/a.mp4", "videos/ann/a.mp4")
        (tmp_path / "videos" / "bob").symlink_to(tmp_path / "secret")
        refused(
            tmp_path / "videos", "videos: 'bob' is a link to a folder out of the folder of clips, which is not followed"
        )

    @pytest.mark.parametrize("target", ["..", ".", "../bob"])
    def test_loops_and_folders_within(self, tmp_path, target):
        root = touch(tmp_path / "videos", "ann/a.mp4", "bob/b.mp4")
        (root / "ann" / "again").symlink_to(target)
        refused(root, "videos: 'ann/again' is a link to a folder within the folder of clips, which is not followed")

    @pytest.mark.parametrize("target", ["again.mp4", "nothing.mp4"])
    def test_to_nothing(self, tmp_path, target):
        root = touch(tmp_path / "videos", "ann/a.mp4")
        (root / "ann" / "again.mp4").symlink_to(target)
        refused(root, r"videos: 'ann/again\.mp4' is a link that leads nowhere")


def test_an_error_of_a_worker_comes_back_as_it_is(tmp_path):
    error = RefusedEntry(tmp_path, "ann/a.mp4", "odd")
    again = sent(error)
    assert str(again) == str(error) == f"{tmp_path}: 'ann/a.mp4' is odd"
    assert (again.name, again.problem) == ("ann/a.mp4", "odd")


def test_pipes_are_no_clips(tmp_path):
    """Whoever opens one waits."""
    root = touch(tmp_path / "videos", "ann/a.mp4")
    os.mkfifo(root / "ann" / "b.mp4")
    assert [clip.name for clip in listed(root)] == ["ann/a.mp4"]


class TestTable:
    @pytest.fixture
    def root(self, tmp_path):
        return touch(tmp_path / "videos", "a.mp4", "day 1/b.mp4", "day 1/ü/c.mp4", "unused.mp4")

    def write(self, root: Path, text: str) -> Path:
        (root / "clips.csv").write_text(text, encoding="utf-8")
        return root / "clips.csv"

    def test_in_its_order(self, root):
        table = self.write(root, 'identity, clip\nbob,day 1/b.mp4\nann, a.mp4\r\n"ü, the 2nd",day 1/ü/c.mp4\n\n\n')
        clips = listed(root, clips=table)
        assert [(clip.name, clip.identity, clip.video, clip.track(0).id) for clip in clips] == [
            ("day 1/b.mp4", "bob", "day 1", "bob/day_1/b/0"),
            ("a.mp4", "ann", "a", "ann/a/a/0"),
            ("day 1/ü/c.mp4", "ü, the 2nd", "day 1/ü", "ü,_the_2nd/day_1/ü/c/0"),
        ]
        assert list(open_source(ExtractParams.standalone(videos=root, clips=table), root).inputs()) == [table]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty; expected a first line 'clip,identity'"),
            ("clip,identity\n", r"clips\.csv: holds no clips"),
            ("clip\na.mp4\n", "line 1: column identity is missing"),
            ("clip,identity,age\na.mp4,ann,7\n", "line 1: column 'age' is unknown; expected clip, identity"),
            ("clip,identity,clip\na.mp4,ann,a.mp4\n", "line 1: column clip comes twice"),
            ("clip,identity\na.mp4\n", "line 2: 1 values for the 2 columns"),
            ("clip,identity\na.mp4,ann\n\nday 1/b.mp4,bob\n", "line 3: is empty"),
            ("clip,identity\na.mp4,\n", "line 2: '' is no identity"),
            ("clip,identity\na.mp4,../bob\n", "line 2: '../bob' is no identity"),
            ("clip,identity\nb.mp4,bob\n", r"line 2: there is no clip b\.mp4"),
            ("clip,identity\n../b.mp4,bob\n", r"line 2: clip '\.\./b\.mp4' is no path below"),
            ("clip,identity\n/etc/passwd,bob\n", "line 2: clip '/etc/passwd' is no path below"),
            ("clip,identity\n" + "x" * 5000 + ",bob\n", "line 2: there is no clip xxx"),
            ("clip,identity\na\0.mp4,bob\n", "line 2: "),
            ("clip,identity\n" + "x" * 70000 + ",bob\n", "line 2: longer than"),
            ('clip,identity\n"a.mp4,bob\n', "line 2: not a row of values"),
            (
                "clip,identity\na.mp4,ann\nday 1/b.mp4,bob\na.mp4,bob\n",
                "line 4: clip a.mp4 comes twice, first in line 2",
            ),
        ],
    )
    def test_bad(self, root, text, message):
        refused(root, rf"clips\.csv: .*{message}|{message}", clips=self.write(root, text))

    def test_other_text(self, root):
        (root / "clips.csv").write_bytes(b"clip,identity\na.mp4,\xff\n")
        refused(root, r"clips\.csv: line 2: not UTF-8 text", clips=root / "clips.csv")
        refused(root, r"other\.csv: cannot be read: No such file", clips=root / "other.csv")

    def test_behind_a_link(self, root, tmp_path):
        touch(tmp_path, "secret/a.mp4")
        (root / "out").symlink_to(tmp_path / "secret")
        refused(
            root, r"line 2: clip out/a\.mp4 .*leads out of", clips=self.write(root, "clip,identity\nout/a.mp4,ann\n")
        )


META = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tIreland\tdev\n"


def test_names_become_ids(tmp_path):
    root = touch(tmp_path / "videos", "A.J._Buckley/a.mp4", "id10001/b.mp4", "zoe/c.mp4")
    assert [clip.identity for clip in listed(root)] == ["A.J._Buckley", "id10001", "zoe"]
    (root / "vox1_meta.csv").write_text(META)
    assert [clip.identity for clip in listed(root)] == ["id10001", "id10001", "zoe"]
    assert list(open_source(ExtractParams.standalone(videos=root), root).inputs()) == [root / "vox1_meta.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (META.replace("\t", ","), "line 1: column VoxCeleb1 ID is missing"),
        (META + "id10002\tA.J._Buckley\tm\tIreland\tdev\n", r"line 3: A\.J\._Buckley comes twice, first in line 2"),
        (META + "id10001\tA.J._Cook\tf\tCanada\tdev\n", "line 3: id10001 comes twice, first in line 2"),
        (META + "A.J._Cook\tid10002\tf\tCanada\tdev\n", "line 3: expected an id such as id10001 and a name"),
    ],
)
def test_bad_names_and_ids(tmp_path, text, message):
    root = touch(tmp_path / "videos", "ann/a.mp4")
    (root / "vox1_meta.csv").write_text(text)
    refused(root, rf"vox1_meta\.csv: {message}")


def test_walk_holds_no_list(tmp_path):
    """The first clip comes before the second folder is looked at."""
    root = touch(tmp_path / "videos", "a/x.mp4", "b/y.mp4")
    clips = open_source(ExtractParams.standalone(videos=root), tmp_path).list_clips()
    assert next(clips).name == "a/x.mp4"
    touch(root, "b/z.mp4")
    assert [clip.name for clip in clips] == ["b/y.mp4", "b/z.mp4"]
