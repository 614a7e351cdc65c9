"""A unit of work from scripted sources: interleaved tracks, rejects of tracks and clips, the ledger, flat memory."""

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import simplejpeg
from whole_sections import tracking_params

from fabnet import contract, tables
from fabnet.config import ExtractParams
from fabnet.frames.shards import INDEX, shard_name
from fabnet.processes import Outcome
from fabnet.video import frame_buffer, unit
from fabnet.video.clips import Clip, ClipList
from fabnet.video.crop import Box
from fabnet.video.extract import run_isolated
from fabnet.video.faces import Face, FindFaces, Frame, Tally, Track, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.unit import LEDGER, REJECTS, Unit, run_unit

SIDE = 48


def grey_face(track: Track, number: int, side: float = 40) -> Face:
    """A face whose grey level is 10 times its number, modulo 250."""
    image = np.full((SIDE, SIDE, 3), 10 * (number % 25), np.uint8)
    return Face(track, number, number / 2, image, Box(0, 0, side, side))


Script = Callable[[Clip], Iterator[Face | TrackEnd]]


@dataclass(frozen=True)
class Scripted:
    """A source whose clips are told by `script`."""

    script: Script

    def frames(self, clip: Clip, tally: Tally | None = None) -> Iterator[Frame]:
        return iter(())

    def find(self, clip: Clip) -> FindFaces:
        return lambda frames: self.script(clip)


def unit_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, names: list[str], **params) -> Unit:
    clips = [Clip(tmp_path / "v" / name, name, name.split("/")[0], "w") for name in names]
    ClipList.write(clips, tmp_path / "state" / unit.CLIPS)
    monkeypatch.setattr(unit, "open_source", lambda *_: Scripted(script))
    return Unit(
        ExtractParams.standalone(videos=tmp_path / "v", image_size=16, **params), tmp_path / "state", 0, len(names)
    )


def rejects(out: Path) -> list[tuple[str, str, str]]:
    table = tables.read(out / REJECTS, tables.Rejects)
    return list(table[["clip", "track_id", "reason"]].itertuples(index=False, name=None))


def test_interleaved_tracks_are_stored_one_after_another(tmp_path, monkeypatch):
    one, two = Track("ann/w/a/0", "ann", "w"), Track("bob/w/a/1", "bob", "w")

    def script(clip):
        for number in range(6):
            yield grey_face(one, number)
            if number in (2, 3, 4):
                yield grey_face(two, 10 + number)
            if number == 4:
                yield TrackEnd(two, clamped=3)

    work = unit_of(tmp_path, monkeypatch, script, ["ann/a.mp4"])
    run_unit(work)
    index = tables.read(work.out / INDEX, tables.Index)
    # The track that ended first comes first.
    assert index["track_id"].tolist() == [two.id] * 3 + [one.id] * 6
    assert index["identity"].tolist() == ["bob"] * 3 + ["ann"] * 6
    assert index["frame_no"].tolist() == [12, 13, 14, 0, 1, 2, 3, 4, 5]
    assert (index["offset"].diff().dropna() > 0).all()
    shard = (work.out / shard_name(0)).read_bytes()
    for row in index.itertuples():
        image = simplejpeg.decode_jpeg(shard[row.offset : row.offset + row.size], "RGB")
        assert image.mean() == pytest.approx(10 * row.frame_no, abs=1)
    ledger = tables.read(work.out / LEDGER, tables.Ledger).to_dict("records")
    assert ledger == [
        {
            "unit": 0,
            "clips": 1,
            "tracks": 2,
            "frames": 9,
            "rejected_clips": 0,
            "rejected_tracks": 0,
            "boxes_clamped": 3,
            "samples_damaged": 0,
            "files_ignored": 0,
            "clips_crowded": 0,
            "clips_swapped": 0,
            "bytes": int(index["size"].sum()),
        }
    ]
    assert {path.name for path in work.out.iterdir()} == {INDEX, REJECTS, LEDGER, shard_name(0)}
    for name, form in ((INDEX, tables.Index), (REJECTS, tables.Rejects), (LEDGER, tables.Ledger)):
        mark = f"{form.__name__} {contract.version(form)}".encode()
        assert pq.read_schema(work.out / name).metadata == {contract.WRITTEN_UNDER: mark}


def test_tracks_are_rejected_alone_and_clips_as_a_whole(tmp_path, monkeypatch):
    def script(clip):
        def track(number):
            return clip.track(number)

        for number in range(4):
            yield grey_face(track(0), number)
            yield grey_face(track(1), number, side=20)
            if number < 2:
                yield grey_face(track(2), number)
        yield TrackEnd(track(2))
        yield TrackEnd(track(3), Rejected("lost", "seen once"), clamped=1)
        yield TrackEnd(track(0), clamped=1)
        if clip.identity == "bob":
            raise Rejected("truncated", "ends early")

    work = unit_of(tmp_path, monkeypatch, script, ["ann/a.mp4", "bob/b.mp4", "cy/c.mp4"], min_frames=3)
    run_unit(work)
    alone = [("2", "too_short"), ("3", "lost"), ("1", "too_small")]
    assert rejects(work.out) == [
        *[("ann/a.mp4", f"ann/w/a/{number}", reason) for number, reason in alone],
        ("bob/b.mp4", "", "truncated"),
        *[("cy/c.mp4", f"cy/w/c/{number}", reason) for number, reason in alone],
    ]
    index = tables.read(work.out / INDEX, tables.Index)
    assert index["track_id"].drop_duplicates().tolist() == ["ann/w/a/0", "cy/w/c/0"]
    row = tables.read(work.out / LEDGER, tables.Ledger).iloc[0]
    counts = ["clips", "tracks", "frames", "rejected_clips", "rejected_tracks", "boxes_clamped"]
    assert row[counts].tolist() == [3, 2, 8, 1, 6, 4]
    # As if the rejected clip had never been.
    monkeypatch.setattr(unit, "open_source", lambda *_: Scripted(script))
    other = unit_of(tmp_path / "other", monkeypatch, script, ["ann/a.mp4", "cy/c.mp4"], min_frames=3)
    run_unit(other)
    for name in (INDEX, shard_name(0)):
        assert (work.out / name).read_bytes() == (other.out / name).read_bytes()


def test_a_blurred_track(tmp_path, monkeypatch):
    sharp = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    def script(clip):
        for number in range(3):
            yield grey_face(clip.track(0), number)
            yield Face(clip.track(1), number, 0.0, sharp, Box(0, 0, 40, 40))

    tracking = tracking_params(min_sharpness=5)
    work = unit_of(tmp_path, monkeypatch, script, ["ann/a.mp4"], tracking=tracking)
    run_unit(work)
    assert rejects(work.out) == [("ann/a.mp4", "ann/w/a/0", "too_blurred")]
    assert set(tables.read(work.out / INDEX, tables.Index)["track_id"]) == {"ann/w/a/1"}


def test_a_clip_without_any_face(tmp_path, monkeypatch):
    work = unit_of(tmp_path, monkeypatch, lambda clip: iter(()), ["ann/a.mp4"])
    run_unit(work)
    assert rejects(work.out) == [("ann/a.mp4", "", "too_short")]
    assert len(tables.read(work.out / INDEX, tables.Index)) == 0


def test_a_fault_of_a_source_names_the_clip(tmp_path, monkeypatch):
    def script(clip):
        yield TrackEnd(clip.track(0))
        yield grey_face(clip.track(0), 3)

    work = unit_of(tmp_path, monkeypatch, script, ["ann/a.mp4"])
    with pytest.raises(ValueError, match="track ann/w/a/0 goes on after its end") as error:
        run_unit(work)
    assert error.value.__notes__ == ["in clip ann/a.mp4"]
    assert not work.out.exists()
    assert [path.name for path in work.state.iterdir()] == [unit.CLIPS]


def test_memory_does_not_grow_with_a_clip(tmp_path, monkeypatch):
    def peak(frames: int) -> int:
        def script(clip):
            for number in range(frames):
                yield grey_face(clip.track(0), number)

        work = unit_of(tmp_path / str(frames), monkeypatch, script, ["ann/a.mp4"])
        tracemalloc.start()
        run_unit(work)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert pq.read_metadata(work.out / INDEX).num_rows == frames
        return most

    monkeypatch.setattr(frame_buffer, "_JPEG_BYTES", 1 << 14)
    monkeypatch.setattr(frame_buffer, "_ROW_BYTES", 1 << 12)
    monkeypatch.setattr(unit, "_ROWS_PER_GROUP", 100)
    peak(10)
    # A JPEG has 400 bytes and more, so that a list of them, or of rows, would show.
    assert peak(2000) < peak(300) + 1700 * 200


def test_a_unit_of_which_a_clip_kills(tmp_path, monkeypatch):
    """The others give what they would have given without it."""

    def script(clip):
        for number in range(4):
            yield grey_face(clip.track(0), number)
            yield grey_face(clip.track(1), number, side=20)
        yield TrackEnd(clip.track(0), clamped=2)

    def engine(function, jobs, workers, attempts=2, fresh=False):
        assert (attempts, fresh) == (1, True)
        passes.append((workers, [job.first for job in jobs]))
        for number, job in enumerate(jobs):
            # Clip 2 always kills; clip 3 only beside others.
            died = job.first == 2 or (job.first == 3 and workers != 1)
            if not died:
                function(job)
            yield Outcome(number, died)

    names = [f"ann/{letter}.mp4" for letter in "abcde"]
    work = unit_of(tmp_path, monkeypatch, script, names)
    work = Unit(work.params, work.state, 1, 4)
    passes: list[tuple[int, list[int]]] = []
    run_isolated([work], engine, 3)
    assert passes == [(3, [1, 2, 3, 4]), (1, [2, 3])]
    small = [(f"ann/{letter}.mp4", f"ann/w/{letter}/1", "too_small") for letter in "bde"]
    assert rejects(work.out) == [small[0], ("ann/c.mp4", "", "crashed"), *small[1:]]
    whole = unit_of(tmp_path / "whole", monkeypatch, script, [name for name in names if name[4] in "bde"])
    run_unit(whole)
    for name in (INDEX, shard_name(0)):
        assert (work.out / name).read_bytes() == (whole.out / name).read_bytes()
    ours, theirs = (tables.read(out / LEDGER, tables.Ledger) for out in (work.out, whole.out))
    changes = {"unit": 1, "clips": 4, "rejected_clips": 1}
    pd.testing.assert_frame_equal(ours, theirs.assign(**changes), check_dtype=False)


def test_a_unit_of_one_clip_that_kills(tmp_path, monkeypatch):
    work = unit_of(tmp_path, monkeypatch, lambda clip: iter(()), ["ann/a.mp4"])
    run_isolated([work], lambda function, jobs, *_, **__: (Outcome(n, True) for n in range(len(jobs))), 2)
    assert rejects(work.out) == [("ann/a.mp4", "", "crashed")]
