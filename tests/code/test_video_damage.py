"""Damage that a decoder marks: what is left out, what is counted, and when the clip is a reject."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.video import decode
from fabnet.video.decode import frames
from fabnet.video.extract import extract
from fabnet.video.faces import Tally
from fabnet.video.reject import Deadline, Rejected
from tests.code.clip_files import write_noise, write_pictures

GROUP = 10  # frames from one key frame to the next, at 25 fps
CODECS = {".mkv": "libx264", ".ts": "libx264", ".avi": "mpeg4", ".mpg": "mpeg1video"}


def whole(path: Path, groups: int = 8) -> Path:
    codec = CODECS[path.suffix]
    options = {"preset": "ultrafast", "sc_threshold": "0"} if codec == "libx264" else {"sc_threshold": "1000000000"}
    return write_pictures(
        path, list(range(groups * GROUP)), codec, (320, 240), options={"g": str(GROUP), "bf": "0", **options}
    )


def packets(path: Path) -> list[tuple[int, int]]:
    """(place in the file, size) of every frame."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def damage(path: Path, number: int) -> Path:
    """Noise over the second half of frame `number`."""
    place, size = packets(path)[number]
    data = bytearray(path.read_bytes())
    begin, end = place + size // 2, place + size - 8
    data[begin:end] = np.random.default_rng(1).bytes(end - begin)
    path.write_bytes(data)
    return path


def shown(path: Path, **options) -> tuple[list[int], int]:
    """Numbers of the frames that come, at the film's own rate, and the tally of those that do not."""
    tally = Tally()
    numbers = [round(25 * frame.time_s) for frame in frames(path, 25.0, tally=tally, **options)]
    return numbers, tally.damaged


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_from_a_damaged_frame_to_the_next_key_frame(tmp_path, suffix):
    path = damage(whole(tmp_path / f"a{suffix}"), 33)
    numbers, left_out = shown(path, max_damaged=0.2)
    assert sorted(set(range(80)) - set(numbers)) == list(range(33, 40))
    assert left_out == 7


@pytest.mark.parametrize("suffix", list(CODECS))
def test_a_whole_clip_is_not_damaged(tmp_path, suffix):
    numbers, left_out = shown(whole(tmp_path / f"a{suffix}"))
    assert (len(numbers), left_out) == (80, 0)


def test_a_share_is_allowed(tmp_path):
    path = damage(whole(tmp_path / "a.mkv"), 33)  # 7 of 80 frames: 8.75 %
    shown(path, max_damaged=0.09)
    with pytest.raises(Rejected, match=r"damaged.*0\.28 s, 9 %, lie between .*extract\.max_damaged allows 8 %"):
        shown(path, max_damaged=0.08)
    with pytest.raises(Rejected, match="damaged"):
        shown(path)
    # Where nothing of the damage is decoded, nobody knows of it.
    assert len(list(frames(path, 25.0, span=(0.0, 1.0)))) == 26


def test_damage_in_the_last_group_lasts_to_the_end(tmp_path):
    numbers, left_out = shown(damage(whole(tmp_path / "a.mkv"), 74), max_damaged=0.2)
    assert (max(numbers), left_out) == (73, 6)


def test_packets_that_a_transport_stream_lost(tmp_path):
    """A gap in the counters: the demuxer marks the packet, and the film goes on."""
    path = whole(tmp_path / "a.ts")
    data = path.read_bytes()
    place, _ = packets(path)[33]
    start = place + 188 * 2
    path.write_bytes(data[:start] + data[start + 188 * 3 :])
    numbers, left_out = shown(path, max_damaged=0.2)
    missing = set(range(80)) - set(numbers)
    assert missing
    assert missing <= set(range(32, 40))
    assert left_out == len(missing)
    path.write_bytes(data[: -188 * 2])  # a recording that ends within a frame
    assert len(shown(path, max_damaged=0.2)[0]) >= 78


def test_the_ledger_counts_what_was_left_out(tmp_path):
    videos = tmp_path / "videos"
    damage(whole(videos / "ann" / "a.mkv"), 33)
    whole(videos / "ann" / "b.mkv", 4)
    damage(damage(whole(videos / "bob" / "c.mkv", 4), 3), 12)
    params = ExtractParams.standalone(videos=videos, fps=25, image_size=16, workers=1)
    extract(params, tmp_path / "frames", tmp_path / "work")
    ledger = tables.read(tmp_path / "frames" / "ledger.parquet", tables.Ledger)
    assert ledger["samples_damaged"].sum() == 7  # of the clip that was kept
    assert ledger["frames"].sum() == 73 + 40
    rejects = tables.read(tmp_path / "frames" / "rejects.parquet", tables.Rejects)
    assert rejects[["clip", "reason"]].to_numpy().tolist() == [["bob/c.mkv", "damaged"]]


def test_times_that_run_on(tmp_path, monkeypatch):
    """Frames of a film that is announced to be shorter are not where their times say."""
    path = write_noise(tmp_path / "a.mp4", 100)
    for announced, good in ((4.0, True), (3.0, True), (2.4, False)):
        monkeypatch.setattr(decode, "announced_duration", lambda *_, announced=announced: Fraction(str(announced)))
        if good:
            assert len(list(frames(path, 1.0))) == 4
        else:
            with pytest.raises(Rejected, match=r"damaged.*its times run on to 4\.00 s, of 2\.40 s announced"):
                list(frames(path, 1.0))


@pytest.mark.parametrize(
    "suffix", [".mp4", ".mov", ".mkv", ".avi", ".flv", ".ts", ".mpg", ".3gp", ".wmv", ".m4v", ".webm"]
)
def test_containers_announce_what_they_hold(tmp_path, suffix):
    """So that no whole clip is refused for its times."""
    codec = {".mpg": "mpeg2video", ".wmv": "wmv2", ".webm": "libvpx", ".3gp": "mpeg4"}.get(suffix, "libx264")
    rate = 25
    path = write_pictures(tmp_path / f"a{suffix}", list(range(100)), codec, (128, 96), rate=rate)
    with decode.open_video(path, Deadline(60)) as (container, stream):
        announced = decode.announced_duration(container, stream)
    assert not announced or announced == pytest.approx(4, abs=0.2)
    assert len(list(frames(path, 5.0))) == pytest.approx(20, abs=1)


def test_fragments_announce_no_less_than_they_hold(tmp_path):
    flags = {"movflags": "frag_keyframe+empty_moov"}
    path = write_pictures(tmp_path / "a.mp4", list(range(200)), options={"g": "10"}, container_options=flags)
    assert len(list(frames(path, 5.0))) == 40
