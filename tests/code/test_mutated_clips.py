"""Some hundred mutated clips: each becomes a track or a reject with its reason, in bounded time and memory."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fabnet import tables
from fabnet.frames.store import FrameStore
from tests.code.mutated_clips import DAMAGE, WHOLE

ROOT = Path(__file__).parents[2]
MEMORY_MB = 700  # of which imports are 300


@pytest.fixture(scope="module")
def extraction(tmp_path_factory):
    """Folder of the extraction, and what it cost. A process of its own: its memory can be told, and it may crash."""
    folder = tmp_path_factory.mktemp("mutated") / "clips"
    command = [sys.executable, "-m", "tests.code.mutated_clips", "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_bounded_memory(extraction):
    _, cost = extraction
    assert cost["clips"] == (1 + len(DAMAGE)) * len(WHOLE) + 3 > 200
    assert cost["memory_mb"] < MEMORY_MB


def test_every_clip_is_a_track_or_a_reject(extraction):
    folder, cost = extraction
    index = tables.read(folder / "frames" / "index.parquet", tables.Index)
    rejects = tables.read(folder / "frames" / "rejects.parquet", tables.Rejects)
    # A clip of this source has one track, so that a rejected track leaves nothing of its clip.
    tracks, rejected = set(index["clip"]), Counter(rejects["clip"])
    assert not tracks & rejected.keys()
    assert max(rejected.values()) == 1
    names = {path.relative_to(folder / "videos").as_posix() for path in (folder / "videos").rglob("*.*")}
    assert tracks | rejected.keys() == names
    assert len(names) == cost["clips"]
    assert rejects["detail"].str.len().min() > 0
    assert not rejects["detail"].str.contains(str(folder), regex=False).any()
    reasons = set(rejects["reason"])
    assert {"unreadable", "truncated", "no_video_stream", "no_frames", "too_large"} <= reasons
    assert not reasons & {"crashed", "too_slow"}


def test_whole_clips_are_tracks(extraction):
    """The others are bad only for what was done to them."""
    folder, _ = extraction
    index = tables.read(folder / "frames" / "index.parquet", tables.Index)
    rejects = tables.read(folder / "frames" / "rejects.parquet", tables.Rejects).set_index("clip")["reason"]
    useless = {
        "sound.mp4": "no_video_stream",
        "none.mkv": "no_frames",
        "one.mp4": "too_short",
        "tiny.mp4": "too_small",
        "strip.mp4": "too_small",
    }
    frames = index.groupby("clip").size()
    for name in WHOLE:
        clip = f"{name.replace('.', '_')}/{name}"
        if name in useless:
            assert rejects[clip] == useless[name]
        else:
            assert frames[clip] >= 6  # more than a second, at 5 frames per second


def test_crops_decode(extraction):
    folder, _ = extraction
    store = FrameStore(folder / "frames")
    images = store.decode(np.arange(store.frame_count))
    assert images.shape[1:] == (16, 16, 3)
    assert images.std() > 20
