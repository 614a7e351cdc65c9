"""Bad input: a bad clip is a row of the rejects with its reason, a bad folder is an error of one line."""

import time
from pathlib import Path

import pytest

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video import decode, reject
from fabnet.video.decode import frames
from fabnet.video.extract import extract
from fabnet.video.reject import Rejected
from tests.code.clip_files import write_clip, write_noise, write_pictures, write_sizes, write_sound


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


def huge(path: Path) -> Path:
    """A GIF is decoded onto a canvas of the size in its first bytes: 17 GB here."""
    gif = write_pictures(path.with_suffix(".gif"), list(range(5)), "gif", pix_fmt="rgb8")
    content = gif.read_bytes()
    path.write_bytes(content[:6] + b"\xff\xff\xff\xff" + content[10:])
    gif.unlink()
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
    "damaged.mp4": (damaged, "damaged"),
    "huge.avi": (huge, "too_large"),
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
        list(frames(path, 1.0))
    assert error.value.reason == reason
    assert reason in tables.REJECT_REASONS
    assert error.value.detail
    assert "\n" not in error.value.detail
    assert str(tmp_path) not in error.value.detail


def test_whole_noise_clip_is_good(tmp_path):
    """The bad ones above are bad only for what was cut."""
    assert len(list(frames(write_noise(tmp_path / "a.mp4", 60, movflags="faststart"), 5.0))) == 12


@pytest.mark.parametrize(
    ("codec", "suffix", "pix_fmt", "reason"),
    [
        ("mjpeg", ".avi", "yuvj420p", "too_large"),
        ("libvpx-vp9", ".webm", "yuv420p", "too_large"),
        ("libx264", ".mkv", "yuv420p", "truncated"),  # its decoder does not tell what was wrong
    ],
)
def test_too_large_on_the_way(tmp_path, monkeypatch, codec, suffix, pix_fmt, reason):
    monkeypatch.setattr(reject, "MAX_PIXELS", 5000)
    monkeypatch.setattr(decode, "_DECODER_OPTIONS", {"max_pixels": "5000"})
    growing = write_sizes(tmp_path / f"growing{suffix}", (64, 48), (96, 80), codec=codec, pix_fmt=pix_fmt)
    with pytest.raises(Rejected) as error:
        list(frames(growing, 5.0))
    assert error.value.reason == reason
    shrinking = write_sizes(tmp_path / f"shrinking{suffix}", (96, 80), (64, 48), codec=codec, pix_fmt=pix_fmt)
    with pytest.raises(Rejected) as error:
        list(frames(shrinking, 5.0))
    assert error.value.reason == "too_large"


def test_too_slow(tmp_path):
    path = write_noise(tmp_path / "a.mp4", 60)
    with pytest.raises(Rejected, match=r"too_slow.*not done after 0 s"):
        list(frames(path, 1.0, limit_s=0))
    slowly = (time.sleep(0.05) for _ in frames(path, 25.0, limit_s=0.2))  # what is done with the frames counts
    with pytest.raises(Rejected, match=r"too_slow.*not done after 0\.2 s"):
        list(slowly)


def test_bad_clips_among_good_ones(tmp_path):
    videos = tmp_path / "videos"
    write_clip(videos / "ann" / "good.mp4", [0, 1000, 2000])
    for name, (make, _) in BAD.items():
        (videos / "bob" / name).parent.mkdir(exist_ok=True)
        make(videos / "bob" / f"{name.replace('.', '-')}{Path(name).suffix}")
    write_clip(videos / "cy" / "short.mp4", [0, 100])
    (videos / "ann" / "notes.txt").write_text("not a clip")
    (videos / "ann" / ".hidden.mp4").write_text("not a clip")
    extract(ExtractParams.standalone(videos=videos, workers=1, image_size=16), tmp_path / "frames", tmp_path / "work")
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
        extract(ExtractParams.standalone(videos=videos, workers=1), tmp_path / "frames", tmp_path / "work")
    assert not (tmp_path / "frames").exists()


def test_missing_table_of_boxes(tmp_path):
    write_clip(tmp_path / "videos" / "ann" / "a.mp4", [0, 1000])
    params = ExtractParams.standalone(
        videos=tmp_path / "videos", source="boxes", boxes=tmp_path / "videos/boxes.csv", workers=1
    )
    with pytest.raises(UserError, match=r"boxes\.csv: no such table"):
        extract(params, tmp_path / "frames", tmp_path / "work")
