"""The study of covered time: shares, intervals, and what counts as covered."""

import numpy as np
import pytest

from fabnet.config import ExtractParams
from fabnet.video.crop import Box
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.clip_folders import Folder
from studies.coverage import Clip, covered, kind_of, share, summary, text
from tests.code.clip_files import write_clip


def test_kinds_of_clips():
    words = ["yes", "beauty-filter", "partly no face", "NO FACE (negative)"]
    assert [kind_of(word) for word in words] == ["usable", "usable", "partly", "nobody"]


def test_the_interval_is_over_clips():
    clips = [Clip("usable", 10, 10, 1, 0)] * 9 + [Clip("usable", 10, 0, 0, 0)]
    found = share(clips)
    assert found["value"] == 90
    draws = 100 * np.random.default_rng(1).binomial(10, 0.9, 4000) / 10
    assert (found["low"], found["high"]) == pytest.approx(np.percentile(draws, (2.5, 97.5)), abs=5)
    assert share(clips[:9])["low"] == 100


def test_only_tracks_that_are_kept_cover(tmp_path, monkeypatch):
    """By hand: samples 0 to 3 of the first track and 2 to 4 of a lost one, and 5 alone, which is no track."""

    def find(source, clip):
        def faces(frames):
            for number, frame in enumerate(frames):
                for track, span in enumerate(([0, 1, 2, 3], [2, 3, 4], [5])):
                    if number in span:
                        yield Face(clip.track(track), number, frame.time_s, frame.image, Box(0, 0, 40, 40))
            yield TrackEnd(clip.track(1), Rejected("lost", "seldom seen"))

        return faces

    monkeypatch.setattr(Folder, "find", find)
    path = write_clip(tmp_path / "a.mp4", [500 * number for number in range(8)])
    params = ExtractParams.standalone(videos=tmp_path, source="folder", fps=2)
    assert covered(path, params, "usable") == Clip("usable", 8, 4, 1, 2)


def test_the_page_says_what_was_counted():
    clips = [Clip("usable", 10, 10, 1, 0), Clip("usable", 10, 5, 2, 1), Clip("nobody", 4, 0, 0, 0)]
    found = summary(clips)
    assert found["usable"] | {"share": None} == {
        "clips": 2,
        "samples": 20,
        "covered": 15,
        "share": None,
        "whole": 1,
        "without_track": 0,
        "of_several_tracks": 1,
        "lost_tracks": 1,
    }
    page = text({"fps": 5.0, "processor": "Some CPU", "detectors": {"haar": found}})
    assert "| `haar` | 2 usable | 20 | 15 | 75.00 [50.00, 100.00] | 50 [9, 91] | 1 | 0 |" in page
    assert "| `haar` | 1 nobody | 4 | 0 | 0.00" in page
