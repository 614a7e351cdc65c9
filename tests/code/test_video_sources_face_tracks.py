"""Full videos with face-track files: several tracks of one or several people in a clip that is decoded once."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fabnet import tables
from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.crop import Box
from fabnet.video.extract import extract
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.reject import Rejected
from tests.code.clip_files import number_of, write_clip
from tests.code.source_layouts import ONE, OTHER, VIDEO, blank_frames, boxes_of, end_of, prepared, track_text, write


class TestFaceTracks:
    """Tracks of two people in one video of 64 x 48, whose boxes are in a frame of 24 lines."""

    @pytest.fixture
    def root(self, tmp_path):
        root = tmp_path / "videos"
        # Twelve seconds of a frame per half second, each of its own grey.
        write_clip(root / "videos" / f"{VIDEO}.mp4", [500 * number for number in range(24)])
        one = [(frame, 4, 4, 8, 8) for frame in range(25, 101)]
        write(root / "txt" / ONE / VIDEO / "00001.txt", track_text(one))
        other = [(frame, 20, 4, 6, 6) for frame in range(50, 76)] + [(frame, 22, 4, 6, 6) for frame in range(150, 201)]
        write(root / "txt" / OTHER / VIDEO / "00004.txt", track_text(other, OTHER))
        return root

    def test_one_clip_with_the_tracks_of_two_people(self, root):
        source, clips = prepared(root, "voxceleb1", reference_height=24, fps=2)
        assert [(clip.name, clip.video) for clip in clips] == [(f"videos/{VIDEO}.mp4", VIDEO)]
        assert clips[0].path == root / "videos" / f"{VIDEO}.mp4"
        items = list(source.find(clips[0])(source.frames(clips[0])))
        first, second, third = f"{ONE}/{VIDEO}/00001/0", f"{OTHER}/{VIDEO}/00004/0", f"{OTHER}/{VIDEO}/00004/1"
        assert {item.track.id: (item.track.identity, item.track.video) for item in items} == {
            first: (ONE, VIDEO),
            second: (OTHER, VIDEO),
            third: (OTHER, VIDEO),
        }
        # Frame n of 25 a second, every half second.
        assert boxes_of(items, first) == {number: Box(8, 8, 24, 24) for number in range(2, 9)}
        assert boxes_of(items, second) == {number: Box(40, 8, 52, 20) for number in range(4, 7)}
        assert boxes_of(items, third) == {number: Box(44, 8, 56, 20) for number in range(12, 17)}
        for item in items:
            if isinstance(item, Face):
                assert number_of(item.image.mean()) == item.number
                assert item.time_s == pytest.approx(item.number / 2, abs=1e-3)
        assert [end_of(items, track).clamped for track in (first, second, third)] == [0, 0, 0]
        # A track ends before the next one of the same file begins.
        ends = [items.index(end_of(items, track)) for track in (second, first, third)]
        assert ends == sorted(ends)
        paths = {root / "txt" / ONE / VIDEO / "00001.txt", root / "txt" / OTHER / VIDEO / "00004.txt"}
        assert set(source.inputs()) == paths

    def test_extraction(self, root, tmp_path):
        """Rows, rejects and counts of a video with a good track, one that leaves the frame, and one outside it."""
        leaving = [(frame, -1, 4, 8, 8) for frame in range(25, 101)]
        write(root / "txt" / ONE / VIDEO / "00002.txt", track_text(leaving))
        outside = [(frame, 44, 4, 6, 6) for frame in range(50, 100)]
        write(root / "txt" / OTHER / VIDEO / "00005.txt", track_text(outside, OTHER))
        write(root / "txt" / ONE / "gone" / "00001.txt", track_text(leaving, video="gone"))
        tracking: Any = {"min_side": 4}
        params = ExtractParams.standalone(
            videos=root, source="voxceleb1", reference_height=24, fps=2, image_size=16, workers=1, tracking=tracking
        )
        extract(params, tmp_path / "frames", tmp_path / "work")
        index = tables.read(tmp_path / "frames" / "index.parquet", tables.Index)
        assert index.groupby("track_id")["frame_no"].agg(list).to_dict() == {
            f"{ONE}/{VIDEO}/00001/0": list(range(2, 9)),
            f"{ONE}/{VIDEO}/00002/0": list(range(2, 9)),
            f"{OTHER}/{VIDEO}/00004/0": [4, 5, 6],
            f"{OTHER}/{VIDEO}/00004/1": [12, 13, 14, 15, 16],
        }
        assert set(index["clip"]) == {f"videos/{VIDEO}.mp4"}
        assert (index["identity"] == index["track_id"].str.split("/").str[0]).all()
        rejects = tables.read(tmp_path / "frames" / "rejects.parquet", tables.Rejects)
        assert rejects[["clip", "track_id", "reason"]].to_numpy().tolist() == [
            [f"videos/{VIDEO}.mp4", f"{OTHER}/{VIDEO}/00005/0", "box_outside"],
            ["videos/gone", "", "unreadable"],
        ]
        ledger = pd.read_parquet(tmp_path / "frames" / "ledger.parquet")
        assert ledger["boxes_clamped"].sum() == len(leaving)

    def test_pixels_and_fractions_give_the_same_crops(self, tmp_path):
        """Fractions of a frame of 512 x 256, which nine decimals hold exactly."""
        rng = np.random.default_rng(5)
        low, high = [-50, -50, 51, 51], [512, 256, 180, 180]
        rows = [(frame, *rng.integers(low, high).tolist()) for frame in range(50)]
        sizes = (512, 256, 512, 256)
        fractions = [(frame, *(f"{v / size:.9f}" for v, size in zip(box, sizes, strict=True))) for frame, *box in rows]
        found = {}
        for source_name, boxes in (("voxceleb1", rows), ("voxceleb2_txt", fractions)):
            root = tmp_path / source_name / "videos"
            write_clip(root / "videos" / f"{VIDEO}.mp4", [0])
            write(root / "txt" / ONE / VIDEO / "00001.txt", track_text(boxes))
            source, (clip,) = prepared(root, source_name, margin=0.1, reference_height=256)
            items = list(source.find(clip)(blank_frames(2, 25, width=1024, height=512)))
            found[source_name] = boxes_of(items, f"{ONE}/{VIDEO}/00001/0"), items[-1]
        (pixels, end), (others, other_end) = found.values()
        assert len(pixels) == 50
        assert isinstance(end, TrackEnd)
        assert isinstance(other_end, TrackEnd)
        assert end.clamped == other_end.clamped > 5
        assert pixels == others

    def test_box_outside_rejects_its_track_alone(self, root):
        rows = [(frame, 4, 4, 8, 8) for frame in range(25, 50)] + [(50, 33, 4, 8, 8)]
        write(root / "txt" / ONE / VIDEO / "00002.txt", track_text(rows))
        source, (clip,) = prepared(root, "voxceleb1", reference_height=24)
        items = list(source.find(clip)(blank_frames(12, 2)))
        rejected = end_of(items, f"{ONE}/{VIDEO}/00002/0").rejected
        assert rejected is not None
        assert rejected.reason == "box_outside"
        assert rejected.detail == (
            f"txt/{ONE}/{VIDEO}/00002.txt line 33: (33, 4, 41, 12) at 2.00 s in a frame of 64 x 48"
        )
        assert len(boxes_of(items, f"{ONE}/{VIDEO}/00001/0")) == 7
        assert end_of(items, f"{ONE}/{VIDEO}/00001/0").rejected is None

    def test_boxes_that_leave_the_frame_are_counted(self, root):
        rows = [(frame, x, 4, 8, 8) for frame, x in zip(range(100, 110), [-1, -2, *[4] * 6, 26, 28], strict=True)]
        write(root / "txt" / ONE / VIDEO / "00002.txt", track_text(rows))
        source, (clip,) = prepared(root, "voxceleb1", reference_height=24)
        items = list(source.find(clip)(blank_frames(12, 25)))
        assert end_of(items, f"{ONE}/{VIDEO}/00002/0").clamped == 4
        assert boxes_of(items, f"{ONE}/{VIDEO}/00002/0")[101] == Box(-2, 8, 14, 24)  # around 0 to 12, 8 to 24

    def test_missing_video_is_a_reject(self, root):
        write(root / "txt" / ONE / "gone" / "00001.txt", track_text([(1, 4, 4, 8, 8)], video="gone"))
        source, clips = prepared(root, "voxceleb1")
        assert [clip.name for clip in clips] == [f"videos/{VIDEO}.mp4", "videos/gone"]
        with pytest.raises(Rejected, match=r"no video for its annotations; expected videos/gone\.mp4") as error:
            list(source.find(clips[1])(source.frames(clips[1])))
        assert error.value.reason == "unreadable"

    def test_video_without_annotation_is_a_reject(self, root):
        write_clip(root / "videos" / "aaa.mkv", [0, 1000])
        source, clips = prepared(root, "voxceleb1")
        assert [clip.name for clip in clips] == [f"videos/{VIDEO}.mp4", "videos/aaa.mkv"]
        with pytest.raises(Rejected) as error:
            list(source.find(clips[1])(source.frames(clips[1])))
        assert error.value.reason == "no_boxes"

    def test_annotations_are_checked_before_work_and_once(self, root):
        prepared(root, "voxceleb1")
        bad = write(root / "txt" / ONE / VIDEO / "00009.txt", track_text([(1, "0.1", "0.1", "0.2", "0.2")]))
        prepared(root, "voxceleb1")  # the same state: an unchanged run that was interrupted
        (root.parent / "state" / "annotations-checked").unlink()
        with pytest.raises(UserError, match=r"00009\.txt: line 8: fractions"):
            prepared(root, "voxceleb1")
        bad.write_text(track_text([(1, 4, 4, 8, 8)], identity=OTHER))
        with pytest.raises(UserError, match=r"00009\.txt: line 1: id10130, but it lies in the folder of id10092"):
            prepared(root, "voxceleb1")
        bad.write_text(track_text([(1, 4, 4, 8, 8)], video="else"))
        with pytest.raises(UserError, match=r"00009\.txt: line 2: else, but it lies in the folder of 22Lt2SMT6u4"):
            prepared(root, "voxceleb1")

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("other/a.txt", r"videos: holds no folder txt; expected txt/<id>/<YouTube id>/<track>\.txt and"),
            ("txt/a.txt", "videos: holds no annotations"),
            ("txt/Ann_Lee/v/a.txt", "txt/Ann_Lee: no identity such as id10001"),
            (f"txt/{ONE}/gone/a.txt", r"videos/videos: holds none of the 1 annotated videos, such as gone\.mp4"),
        ],
    )
    def test_another_layout(self, tmp_path, path, message):
        write(tmp_path / "videos" / path, "")
        with pytest.raises(UserError, match=message):
            prepared(tmp_path / "videos", "voxceleb1")

    def test_same_video_twice(self, root):
        write_clip(root / "videos" / f"{VIDEO}.mkv", [0])
        with pytest.raises(UserError, match=rf"{VIDEO}\.mkv and {VIDEO}\.mp4 are the same video"):
            prepared(root, "voxceleb1")

    def test_link_out_of_the_folder(self, root, tmp_path):
        write(tmp_path / "a.txt", track_text([(1, 4, 4, 8, 8)]))
        (root / "txt" / ONE / VIDEO / "00007.txt").symlink_to(tmp_path / "a.txt")
        with pytest.raises(UserError, match=r"00007\.txt' is a link that leads out of"):
            prepared(root, "voxceleb1")
