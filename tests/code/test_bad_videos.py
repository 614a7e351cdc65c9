"""Bad input: a bad clip is a row of the rejects with its reason, a bad folder is an error of one line."""

import re
from pathlib import Path

import pandas as pd
import pytest

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.clips import find_clips
from fabnet.video.decode import samples
from fabnet.video.extract import extract
from fabnet.video.reject import Rejected
from tests.code.clip_files import write_clip, write_noise, write_sound


def text(path: Path) -> Path:
    path.write_text("this is no video\n" * 100)
    return path


def playlist(path: Path) -> Path:
    """Names another file, a good one, which a reader that trusts contents over suffixes would open."""
    other = write_clip(path.parent / ".other.mp4", [0, 500, 1000, 1500])
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n")
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def cut(path: Path, share: float, **options: str) -> Path:
    whole = write_noise(path, 60, 25, **options).read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    return path


def damaged(path: Path) -> Path:
    whole = bytearray(write_noise(path, 60, movflags="faststart").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4000] = bytes(4000)
    path.write_bytes(whole)
    return path


BAD = {
    "text.mp4": (text, "unreadable"),
    "playlist.mp4": (playlist, "unreadable"),
    "empty.mp4": (empty, "unreadable"),
    "cut.mp4": (lambda path: cut(path, 0.7), "unreadable"),  # its table of contents is at the end
    "faststart.mp4": (lambda path: cut(path, 0.7, movflags="faststart"), "truncated"),
    "almost.mp4": (lambda path: cut(path, 0.99, movflags="faststart"), "truncated"),
    "cut.mkv": (lambda path: cut(path, 0.5), "truncated"),
    "cut.avi": (lambda path: cut(path, 0.5), "truncated"),
    "damaged.mp4": (damaged, "truncated"),
    "sound.mp4": (write_sound, "no_video_stream"),
    "zero.mp4": (lambda path: write_clip(path, []), "no_frames"),
    "zero.mkv": (lambda path: write_clip(path, []), "no_frames"),
    "zero.avi": (lambda path: write_clip(path, []), "no_frames"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_clip(tmp_path, name):
    make, reason = BAD[name]
    path = make(tmp_path / name)
    with pytest.raises(Rejected) as error:
        list(samples(path, 1.0))
    assert error.value.reason == reason
    assert reason in tables.REJECT_REASONS
    assert error.value.detail
    assert "\n" not in error.value.detail
    assert str(tmp_path) not in error.value.detail


def test_whole_noise_clip_is_good(tmp_path):
    """The bad ones above are bad only for what was cut."""
    assert len(list(samples(write_noise(tmp_path / "a.mp4", 60, movflags="faststart"), 5.0))) == 12


def test_bad_clips_among_good_ones(tmp_path):
    videos = tmp_path / "videos"
    write_clip(videos / "ann" / "good.mp4", [0, 1000, 2000])
    for name, (make, _) in BAD.items():
        (videos / "bob" / name).parent.mkdir(exist_ok=True)
        make(videos / "bob" / f"{name.replace('.', '-')}{Path(name).suffix}")
    write_clip(videos / "cy" / "short.mp4", [0, 100])
    (videos / "ann" / "notes.txt").write_text("not a clip")
    (videos / "ann" / ".hidden.mp4").write_text("not a clip")
    extract(ExtractParams(videos=videos, workers=1, size=16), tmp_path / "frames", tmp_path / "work")
    rejects = tables.read(tmp_path / "frames" / "rejects.parquet", tables.Rejects)
    expected = {f"bob/{name.replace('.', '-')}{Path(name).suffix}": reason for name, (_, reason) in BAD.items()}
    assert dict(zip(rejects["clip"], rejects["reason"], strict=True)) == expected | {"cy/short.mp4": "too_short"}
    index = tables.read(tmp_path / "frames" / "index.parquet", tables.Index)
    assert index["clip"].tolist() == ["ann/good.mp4"] * 3


def test_all_clips_rejected(tmp_path):
    videos = tmp_path / "videos"
    (videos / "ann").mkdir(parents=True)
    text(videos / "ann" / "a.mp4")
    text(videos / "ann" / "b.mov")
    write_sound(videos / "ann" / "c.mp4")
    with pytest.raises(UserError, match=r"all 3 clips were rejected \(1 no_video_stream, 2 unreadable\).*ann/a.mp4: "):
        extract(ExtractParams(videos=videos, workers=1), tmp_path / "frames", tmp_path / "work")
    assert not (tmp_path / "frames").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such folder of videos"),
        ([], "holds no clips"),
        (["ann/notes.txt", "ann/.a.mp4"], "holds no clips"),
        (["a.mp4"], "a.mp4 lies in no folder of an identity; expected <identity>/"),
        (["ann/a.mp4", "ann/a.MOV"], "ann/a.MOV and ann/a.mp4 would share the track ann/a/a/0"),
        (["ann/a b.mp4", "ann/a_b.mp4"], "would share the track"),
    ],
)
def test_bad_folder(tmp_path, files, message):
    root = tmp_path / "videos"
    if files is not None:
        root.mkdir()
    for file in files or []:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).touch()
    with pytest.raises(UserError, match=f"videos: .*{re.escape(message)}") as error:
        find_clips(root)
    assert "\n" not in str(error.value)


def test_names_of_clips(tmp_path):
    for file in ("ann/v1/x.mp4", "ann/x.mp4", "ann/a/b/y.MKV", "bob c/z z.webm"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = pd.DataFrame([(c.name, c.identity, c.video, c.track_id(0)) for c in find_clips(tmp_path)])
    assert found.to_numpy().tolist() == [
        ["ann/a/b/y.MKV", "ann", "a/b", "ann/a/b/y/0"],
        ["ann/v1/x.mp4", "ann", "v1", "ann/v1/x/0"],
        ["ann/x.mp4", "ann", "x", "ann/x/x/0"],
        ["bob c/z z.webm", "bob c", "z z", "bob_c/z_z/z_z/0"],
    ]


def test_missing_table_of_boxes(tmp_path):
    write_clip(tmp_path / "videos" / "ann" / "a.mp4", [0, 1000])
    params = ExtractParams(videos=tmp_path / "videos", source="boxes", boxes=tmp_path / "videos/boxes.csv", workers=1)
    with pytest.raises(UserError, match=r"boxes\.csv: no such table"):
        extract(params, tmp_path / "frames", tmp_path / "work")
