"""The whole extraction on small clips: what is cropped, restart, and independence of the number of workers."""

import fcntl
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from whole_sections import detection_params, tracking_params

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.files import hash_json, read_json
from fabnet.frames.store import FrameStore
from fabnet.video import extract as module
from fabnet.video.crop import Box
from fabnet.video.extract import extract
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.recipe import recipe
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Cropped
from fabnet.video.unit import Unit, run_unit
from tests.code.clip_files import number_of, write_clip
from tests.code.killed_workers import Killer, files, many_clips, units_done

SHARED = Path(__file__).parents[2] / ".." / "shared" / "clips"


@pytest.fixture
def videos(tmp_path):
    root = tmp_path / "videos"
    rng = np.random.default_rng(0)
    for person in ("ann", "bob", "cy"):
        for clip in range(2):
            pts = np.concatenate([[0], np.cumsum(rng.integers(100, 900, 9))])
            write_clip(root / person / f"v{clip}" / "c.mp4", pts.tolist())
    (root / "ann" / "bad.mp4").write_text("no video")
    return root


@pytest.fixture
def few_clips_per_unit(monkeypatch):
    monkeypatch.setattr(module, "clips_per_unit", lambda clips: 2)


def named(rows: pd.DataFrame) -> Iterator[Any]:
    """Rows with their columns as attributes, of any type."""
    return iter(rows.itertuples())


def counted(monkeypatch) -> list[int]:
    """Numbers of the first clips of the units that are run from now on."""
    run_unit = module.run_unit
    firsts: list[int] = []

    def run(unit):
        firsts.append(unit.first)
        run_unit(unit)

    monkeypatch.setattr(module, "run_unit", run)
    return firsts


def test_every_row_holds_its_frame(tmp_path, videos):
    params = ExtractParams.standalone(videos=videos, fps=2, image_size=32, workers=1)
    extract(params, tmp_path / "frames", tmp_path / "work")
    store = FrameStore(tmp_path / "frames")
    index = tables.read(tmp_path / "frames" / "index.parquet", tables.Index)
    images = store.decode(np.arange(store.frame_count))
    rng = np.random.default_rng(0)
    for person in ("ann", "bob", "cy"):
        for clip in range(2):
            times = np.concatenate([[0], np.cumsum(rng.integers(100, 900, 9))])
            rows = index[index["clip"] == f"{person}/v{clip}/c.mp4"]
            assert set(rows["track_id"]) == {f"{person}/v{clip}/c/0"}
            assert len(rows) >= 2 * times[-1] / 1000
            for row in named(rows):
                expected = int(np.flatnonzero(times <= 500 * row.frame_no)[-1])
                assert number_of(images[row.Index].mean()) == expected
                assert row.time_s == pytest.approx(times[expected] / 1000, abs=1e-3)
                assert (row.left, row.top, row.right, row.bottom) == (8, 0, 56, 48)
                assert row.brightness == pytest.approx(images[row.Index].mean(), abs=2)
                assert row.sharpness == pytest.approx(0, abs=1)
    assert read_json(tmp_path / "frames" / "crop.json") == store.recipe == recipe(params)
    assert not (tmp_path / "work").exists()


def test_workers_do_not_matter(tmp_path, videos, few_clips_per_unit):
    for workers in (1, 2):
        params = ExtractParams.standalone(videos=videos, workers=workers, image_size=32, jpeg_quality=80)
        extract(params, tmp_path / f"out{workers}", tmp_path / "work")
    assert files(tmp_path / "out1") == files(tmp_path / "out2")


def test_interrupted_run_is_taken_up(tmp_path, videos, few_clips_per_unit, monkeypatch):
    params = ExtractParams.standalone(videos=videos, workers=1, image_size=32)
    out, work = tmp_path / "frames", tmp_path / "work"
    extract(params, tmp_path / "uninterrupted", work)
    run_unit = module.run_unit
    done: list[int] = []

    def interrupt(unit):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(unit.first)
        run_unit(unit)

    monkeypatch.setattr(module, "run_unit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        extract(params, out, work)
    monkeypatch.setattr(module, "run_unit", run_unit)
    assert not out.exists()
    again = counted(monkeypatch)
    extract(params, out, work)
    assert (done, again) == ([0, 2], [4, 6])
    assert files(out) == files(tmp_path / "uninterrupted")


@pytest.mark.parametrize("change", ["params", "clip", "shards"])
def test_what_a_taken_up_run_trusts(tmp_path, videos, few_clips_per_unit, monkeypatch, change):
    params = ExtractParams.standalone(videos=videos, workers=1, image_size=32)
    work = tmp_path / "work"
    monkeypatch.setattr(module, "merge", lambda *_: (_ for _ in ()).throw(RuntimeError("interrupted")))
    with pytest.raises(RuntimeError, match="interrupted"):
        extract(params, tmp_path / "frames", work)
    monkeypatch.undo()
    monkeypatch.setattr(module, "clips_per_unit", lambda clips: 2)
    again = counted(monkeypatch)
    if change == "params":
        params = params.model_copy(update={"image_size": 16})
    elif change == "clip":
        write_clip(videos / "bob" / "v0" / "c.mp4", [0, 900, 1700, 4000])
    else:
        params = params.model_copy(update={"shard_mb": 1})
    extract(params, tmp_path / "frames", work)
    assert len(again) == (0 if change == "shards" else 4)


def test_boxes_source(tmp_path, videos):
    rows = [
        ("ann/v0/c.mp4", 0.0, 10.0, 10.0, 30.0, 26.0),
        ("ann/v0/c.mp4", 2.0, 20.0, 10.0, 40.0, 26.0),
        ("bob/v0/c.mp4", 0.0, 900.0, 10.0, 930.0, 26.0),
    ]
    boxes = videos / "boxes.csv"
    pd.DataFrame(rows, columns=["clip", "time_s", "left", "top", "right", "bottom"]).to_csv(boxes, index=False)
    tracking = tracking_params(min_side=20, max_gap_s=3)
    params = ExtractParams.standalone(
        videos=videos, source="boxes", boxes=boxes, tracking=tracking, margin=0.1, fps=4, image_size=16, workers=1
    )
    extract(params, tmp_path / "frames", tmp_path / "work")
    index = tables.read(tmp_path / "frames" / "index.parquet", tables.Index)
    assert set(index["clip"]) == {"ann/v0/c.mp4"}
    assert index["time_s"].max() <= 2.25
    for row in named(index):
        centre = 20 + 5 * min(row.time_s, 2.0)
        assert (row.left + row.right) / 2 == pytest.approx(centre, abs=0.5)
        assert (row.top + row.bottom) / 2 == 18
        assert row.right - row.left == row.bottom - row.top == 24
    rejects = tables.read(tmp_path / "frames" / "rejects.parquet", tables.Rejects)
    assert rejects["reason"].value_counts().to_dict() == {"no_boxes": 5, "box_outside": 1}


def run_unit_or_die(unit: Unit) -> None:
    """As a unit runs with a clip that kills whoever opens it."""
    if any(clip.name == "p1/v1.mp4" for clip in unit.clips()):
        os.kill(os.getpid(), signal.SIGKILL)
    run_unit(unit)


def test_a_clip_that_kills_is_rejected_alone(tmp_path, videos, few_clips_per_unit, monkeypatch):
    videos = many_clips(tmp_path / "many", 6)
    params = ExtractParams.standalone(videos=videos, image_size=32, fps=5, workers=1)
    extract(params, tmp_path / "whole", tmp_path / "work")
    monkeypatch.setattr(module, "run_unit", run_unit_or_die)
    extract(params.model_copy(update={"workers": 2}), tmp_path / "frames", tmp_path / "work")
    rejects = tables.read(tmp_path / "frames" / "rejects.parquet", tables.Rejects)
    assert rejects[["clip", "track_id", "reason"]].to_numpy().tolist() == [["p1/v1.mp4", "", "crashed"]]
    whole, left = (tables.read(tmp_path / out / "index.parquet", tables.Index) for out in ("whole", "frames"))
    columns = ["track_id", "frame_no", "size", "sharpness"]
    expected = whole.loc[whole["clip"] != "p1/v1.mp4", columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(left[columns], expected)
    ledger = tables.read(tmp_path / "frames" / "ledger.parquet", tables.Ledger)
    assert ledger["clips"].tolist() == [2, 2, 2]
    assert ledger["rejected_clips"].sum() == 1


def test_a_killed_worker_costs_nothing_but_time(tmp_path, monkeypatch):
    videos = many_clips(tmp_path / "videos", 10)
    params = ExtractParams.standalone(videos=videos, image_size=32, fps=5, workers=1)
    extract(params, tmp_path / "whole", tmp_path / "work")

    def kill() -> bool:
        workers = multiprocessing.active_children()
        if workers:
            os.kill(workers[0].pid or 0, signal.SIGKILL)
        return bool(workers)

    killer = Killer(lambda: units_done(tmp_path / "work"), 3, kill)
    killer.start()
    extract(params.model_copy(update={"workers": 2}), tmp_path / "frames", tmp_path / "work")
    assert killer.done
    assert files(tmp_path / "frames") == files(tmp_path / "whole")


@pytest.mark.parametrize(("clips", "count"), [(1, 1), (127, 1), (400, 6), (1024, 16), (100_000, 16), (1_200_000, 147)])
def test_clips_per_unit(clips, count):
    assert module.clips_per_unit(clips) == count


def test_only_one_extraction_at_a_time(tmp_path, videos):
    (tmp_path / "work").mkdir()
    with open(tmp_path / "work" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another extraction is at work"):
            extract(ExtractParams.standalone(videos=videos), tmp_path / "frames", tmp_path / "work")


def test_recipe_hash_covers_pixels_only():
    base = ExtractParams.standalone(videos=Path("v"))
    same: list[dict[str, Any]] = [
        {"fps": 5.0},
        {"workers": 3},
        {"shard_mb": 9},
        {"videos": Path("w")},
        {"min_frames": 7},
        {"margin": 0.2},
    ]
    same += [
        {"source": "voxceleb2"},
        {"source": "frames"},
        {"engine": "ray"},
        {"tracking": tracking_params(min_side=9)},
    ]
    same += [
        {"detection": detection_params(every=2)},
        {"tracking": tracking_params(smoothing_s=2)},
        {"clip_limit_s": 9},
    ]
    other: list[dict[str, Any]] = [
        {"image_size": 128},
        {"jpeg_quality": 90},
        {"recrop": "authors"},
        {"crop": "aligned"},
        {"source": "folder"},
    ]
    assert {recipe(base.model_copy(update=change))["hash"] for change in same} == {recipe(base)["hash"]}
    assert len({recipe(base.model_copy(update=change))["hash"] for change in [{}, *other]}) == 6
    looked_for = base.model_copy(update={"source": "folder"})
    other = [{"detection": detection_params(every=2)}, {"tracking": tracking_params(smoothing_s=2)}, {"margin": 0.1}]
    other += [{"detection": detection_params(longest_side=640)}]
    assert len({recipe(looked_for.model_copy(update=change))["hash"] for change in [{}, *other]}) == 5
    annotated = base.model_copy(update={"source": "voxceleb1"})
    other = [{"reference_height": 720}, {"margin": 0.1}, {"source": "vox_metadata"}]
    assert len({recipe(annotated.model_copy(update=change))["hash"] for change in [{}, *other]}) == 4
    boxed = ExtractParams.standalone(videos=Path("v"), source="boxes", boxes=Path("v/b.csv"))
    assert recipe(boxed)["boxes"] == "clamped"
    assert "boxes" not in recipe(base) | recipe(looked_for)
    assert recipe(boxed)["hash"] != recipe(boxed.model_copy(update={"margin": 0.2}))["hash"]
    content = recipe(base)
    assert content.pop("hash") == hash_json({name: value for name, value in content.items() if name != "fps"})


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips are not here")
def test_real_clips(tmp_path):
    for name in ("pyfeat_single", "lp_d0"):
        shutil.copytree(SHARED / name, tmp_path / "videos" / name)
    extract(ExtractParams.standalone(videos=tmp_path / "videos", workers=1), tmp_path / "frames", tmp_path / "work")
    store = FrameStore(tmp_path / "frames")
    assert store.tracks.length.tolist() == [4, 7, 7, 3]
    assert len(tables.read(tmp_path / "frames" / "rejects.parquet", tables.Rejects)) == 0
    assert store.decode(np.arange(store.frame_count)).std() > 30


def test_files_that_are_no_videos_are_said_and_counted(tmp_path, caplog):
    params = ExtractParams.standalone(videos=tmp_path / "videos", workers=1, fps=2, image_size=16)
    write_clip(params.videos / "ann" / "a.mp4", [0, 500, 1000, 1500])
    write_clip(params.videos / "bob" / "b.mp4", [0, 500, 1000, 1500])
    for name in ("ann/a.txt", "ann/b.txt", "bob/c.wav"):
        (params.videos / name).touch()
    extract(params, tmp_path / "frames", tmp_path / "work")
    ledger = tables.read(tmp_path / "frames" / "ledger.parquet", tables.Ledger)
    assert ledger["files_ignored"].tolist() == [3, *[0] * (len(ledger) - 1)]
    assert "passed over 3 files that are no videos by their suffix (2 .txt, 1 .wav)" in caplog.text
    assert ledger["clips_crowded"].sum() == 0
    assert "several faces" not in caplog.text


def test_several_faces_under_one_identity_are_said(tmp_path, caplog, monkeypatch):
    params = ExtractParams.standalone(videos=tmp_path / "videos", workers=1, fps=2, image_size=16)
    for name in ("ann", "bob", "cy", "dee"):
        write_clip(params.videos / name / "a.mp4", [0, 500, 1000, 1500])

    def find(source, clip):
        """Two faces at once of ann, else two in turn: in one place of cy, and of dee, where the second is lost."""

        def faces(frames):
            for number, frame in enumerate(frames):
                for face in (0, 1) if clip.identity == "ann" else (number // 2,):
                    yield Face(clip.track(face), number, frame.time_s, frame.image, Box(9 * face, 0, 9 * face + 40, 40))
                if number == 1 and clip.identity in ("cy", "dee"):
                    yield TrackEnd(clip.track(0), replaced=True)
            if clip.identity == "dee":
                yield TrackEnd(clip.track(1), Rejected("lost", "a false alarm"))

        return faces

    monkeypatch.setattr(Cropped, "find", find)
    extract(params, tmp_path / "frames", tmp_path / "work")
    ledger = tables.read(tmp_path / "frames" / "ledger.parquet", tables.Ledger)
    assert ledger[["tracks", "clips_crowded", "clips_swapped"]].sum().tolist() == [7, 1, 1]
    assert "several faces of one identity at once: 1 of 4 clips; one face in the place of another" in caplog.text
