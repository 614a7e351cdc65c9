"""vox-metadata.csv on full videos, and VoxCeleb2's own cropped clips."""

from pathlib import Path

import pytest

from fabnet.errors import UserError
from fabnet.video.crop import Box
from fabnet.video.faces import TrackEnd
from tests.code.clip_files import write_clip
from tests.code.source_layouts import ONE, OTHER, VIDEO, blank_frames, boxes_of, end_of, prepared, write


class TestVoxMetadata:
    HEAD = "video_id,start,end,bbox,fps,width,height,partition,person_id\n"
    ROWS = (
        f"{VIDEO},25,100,16-16-48-48,25,128,96,train,{ONE}\n"
        f"{VIDEO},50,75,64-16-96-40,25,128,96,train,{OTHER}\n"
        f"{VIDEO},250,275,-8-16-32-48,25,128,96,test,{ONE}\n"
    )

    def root(self, tmp_path: Path, text: str) -> Path:
        write_clip(tmp_path / "videos" / "videos" / f"{VIDEO}.mp4", [500 * number for number in range(24)])
        write(tmp_path / "videos" / "vox-metadata.csv", text)
        return tmp_path / "videos"

    def test_rows_are_tracks(self, tmp_path):
        root = self.root(tmp_path, self.HEAD + self.ROWS)
        source, (clip,) = prepared(root, "vox_metadata", fps=2)
        items = list(source.find(clip)(source.frames(clip)))
        first, second, third = f"{ONE}/{VIDEO}/25-100/0", f"{OTHER}/{VIDEO}/50-75/0", f"{ONE}/{VIDEO}/250-275/0"
        assert boxes_of(items, first) == {number: Box(8, 8, 24, 24) for number in range(2, 9)}
        assert boxes_of(items, second) == {number: Box(32, 6, 48, 22) for number in range(4, 7)}
        # -4 to 16 is cut back to 0 to 16, which is then a square.
        assert boxes_of(items, third) == {number: Box(0, 8, 16, 24) for number in range(20, 23)}
        assert [end_of(items, track).clamped for track in (first, second, third)] == [0, 0, 2]
        assert {item.track.identity for item in items} == {ONE, OTHER}
        assert list(source.inputs()) == [root / "vox-metadata.csv"]

    def test_video_of_another_shape_is_rejected(self, tmp_path):
        root = self.root(tmp_path, self.HEAD + self.ROWS.replace("128,96", "1280,720"))
        source, (clip,) = prepared(root, "vox_metadata")
        ends = [item for item in source.find(clip)(blank_frames(12, 1)) if isinstance(item, TrackEnd)]
        assert len(ends) == 3
        for end in ends:
            assert end.rejected is not None
            assert end.rejected.reason == "box_outside"
            assert "1280 x 720, which has another shape than its own 64 x 48" in end.rejected.detail

    def test_two_boxes_at_one_time_are_two_tracks(self, tmp_path):
        rows = f"{VIDEO},25,100,16-16-48-48,25,128,96,train,{ONE}\n" + self.ROWS
        source, (clip,) = prepared(self.root(tmp_path, self.HEAD + rows), "vox_metadata")
        tracks = {item.track.id for item in source.find(clip)(blank_frames(12, 1))}
        assert {f"{ONE}/{VIDEO}/25-100/0", f"{ONE}/{VIDEO}/25-100/1"} < tracks
        assert len(tracks) == 4

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("bbox", "box", "line 1: column bbox is missing"),
            ("person_id", "person_id,score", "line 1: column 'score' is unknown"),
            (",train,id10092", ",id10092", "line 2: 8 values for the 9 columns of line 1"),
            ("50,75", "75,50", "line 3: end 50 comes before start 75"),
            ("50,75", "2.0,3.0", "line 3: start '2.0' is no number of frames"),
            ("64-16-96-40", "0.5-0.1-0.7-0.4", "line 3: bbox '0.5-0.1-0.7-0.4' is not left-top-right-bottom in whole"),
            ("64-16-96-40", "96-16-64-40", "line 3: bbox '96-16-64-40' has no area"),
            ("64-16-96-40,25", "64-16-96-40,0", "line 3: fps '0' is no number"),
            ("64-16-96-40,25,128", "64-16-96-40,25,0", "line 3: width '0' is no number"),
            (f"{VIDEO},50", ",50", "line 3: video_id '' .* is no name"),
            (f"{VIDEO},50", "../x,50", r"line 3: video_id '\.\./x' .* is no name"),
        ],
    )
    def test_bad(self, tmp_path, old, new, message):
        root = self.root(tmp_path, (self.HEAD + self.ROWS).replace(old, new))
        with pytest.raises(UserError, match=rf"vox-metadata\.csv: {message}"):
            prepared(root, "vox_metadata")

    def test_another_layout(self, tmp_path):
        root = self.root(tmp_path, self.HEAD)
        with pytest.raises(UserError, match="videos: holds no annotations"):
            prepared(root, "vox_metadata")
        (root / "vox-metadata.csv").unlink()
        with pytest.raises(UserError, match=r"vox-metadata\.csv: no such table; expected vox-metadata\.csv and"):
            prepared(root, "vox_metadata")


class TestVoxCeleb2:
    def test_cropped_clips(self, tmp_path):
        root = tmp_path / "videos"
        for name in ("test/mp4/id00017/_m/00002.mp4", "dev/mp4/id00012/_r/00010.mp4", "dev/mp4/id00012/_r/00009.mp4"):
            write_clip(root / name, [0, 1000, 2000])
        write(root / "dev" / "notes.txt", "")
        source, clips = prepared(root, "voxceleb2")
        assert [(clip.name, clip.identity, clip.video, clip.track(0).id) for clip in clips] == [
            ("dev/mp4/id00012/_r/00009.mp4", "id00012", "_r", "id00012/_r/00009/0"),
            ("dev/mp4/id00012/_r/00010.mp4", "id00012", "_r", "id00012/_r/00010/0"),
            ("test/mp4/id00017/_m/00002.mp4", "id00017", "_m", "id00017/_m/00002/0"),
        ]
        faces = list(source.find(clips[0])(source.frames(clips[0])))
        assert [(face.number, face.box) for face in faces] == [(number, Box(8, 0, 56, 48)) for number in range(3)]
        assert list(source.inputs()) == []

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("mp4/id00012/_r/1.mp4", r"videos: holds no clips; expected dev/mp4/<id>/<video>/<clip>\.mp4"),
            ("dev/id00012/_r/1.mp4", "videos/dev: holds no folder mp4"),
            ("dev/mp4/Ann/_r/1.mp4", "dev/mp4/Ann: no identity such as id00012"),
        ],
    )
    def test_another_layout(self, tmp_path, path, message):
        write(tmp_path / "videos" / path, "")
        with pytest.raises(UserError, match=message):
            prepared(tmp_path / "videos", "voxceleb2")
