"""Folders of images: FAb-Net's IDENTITY/VIDEO/TRACK/*.jpg and VoxCeleb1's frames at 1 fps."""

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from fabnet.config import ExtractParams
from fabnet.errors import UserError
from fabnet.video.clips import Clip, ClipList
from fabnet.video.crop import Box
from fabnet.video.faces import Face, TrackEnd
from fabnet.video.reject import Rejected
from fabnet.video.sources.open import Source, open_source
from tests.code.travelling import sent

META = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10955\tTaylor_Swift\tf\tUSA\tdev\n"


def image(path: Path, grey: int, width=20, height=24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), grey, np.uint8)
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB"))


def opened(root: Path, source: str, **params) -> tuple[Source, list[Clip]]:
    found = sent(open_source(ExtractParams.standalone(videos=root, source=source, **params), root))
    clips = ClipList.write(found.list_clips(), root.parent / "clips.arrow")
    found.prepare(root)
    return found, clips.slice(0, len(clips))


def items_of(source: Source, clip: Clip) -> list[Face | TrackEnd]:
    return list(source.find(clip)(source.frames(clip)))


def described(items) -> list[tuple[str, int, float, int]]:
    faces = [item for item in items if isinstance(item, Face)]
    assert {face.box for face in faces} == {Box(0, 2, 20, 22)}
    return [(face.track.id, face.number, face.time_s, round(face.image.mean())) for face in faces]


class TestFrames:
    def test_a_clip_is_the_folder_of_a_track(self, tmp_path):
        root = tmp_path / "crops"
        for number in (2, 10, 1):
            image(root / "id1" / "v 1" / "1.6" / f"{number}.jpg", 10 * number)
        image(root / "id1" / "v 1" / "t2" / "b.jpg", 20)
        image(root / "id1" / "v 1" / "t2" / "a.png.jpg", 10)
        image(root / "id1" / "VISITED" / "t" / "a.jpg", 0)
        (root / "id1" / "v 1" / "VISITED").touch()
        (root / "id1" / "v 1" / "t2" / ".hidden.jpg").touch()
        (root / "id1" / "v 1" / "t2" / "notes.txt").touch()
        source, clips = opened(root, "frames", fps=2)
        assert [(clip.name, clip.identity, clip.video) for clip in clips] == [
            ("id1/v 1/1.6", "id1", "v 1"),
            ("id1/v 1/t2", "id1", "v 1"),
        ]
        assert described(items_of(source, clips[0])) == [
            ("id1/v_1/1.6/0", 0, 0.0, 10),
            ("id1/v_1/1.6/0", 1, 0.5, 20),
            ("id1/v_1/1.6/0", 2, 1.0, 100),
        ]
        assert described(items_of(source, clips[1])) == [("id1/v_1/t2/0", 0, 0.0, 10), ("id1/v_1/t2/0", 1, 0.5, 20)]
        assert list(source.inputs()) == []

    def test_names_become_ids(self, tmp_path):
        image(tmp_path / "crops" / "Taylor_Swift" / "v" / "1" / "1.jpg", 1)
        (tmp_path / "crops" / "vox1_meta.csv").write_text(META)
        source, (clip,) = opened(tmp_path / "crops", "frames")
        assert (clip.identity, clip.track(0).id) == ("id10955", "id10955/v/1/0")
        assert list(source.inputs()) == [tmp_path / "crops" / "vox1_meta.csv"]

    def test_folder_without_images(self, tmp_path):
        (tmp_path / "crops" / "a" / "v" / "t").mkdir(parents=True)
        source, (clip,) = opened(tmp_path / "crops", "frames")
        with pytest.raises(Rejected, match="holds no images") as error:
            items_of(source, clip)
        assert error.value.reason == "no_frames"

    def test_image_outside(self, tmp_path):
        image(tmp_path / "secret.jpg", 1)
        image(tmp_path / "crops" / "a" / "v" / "t" / "1.jpg", 1)
        (tmp_path / "crops" / "a" / "v" / "t" / "2.jpg").symlink_to(tmp_path / "secret.jpg")
        source, (clip,) = opened(tmp_path / "crops", "frames")
        with pytest.raises(Rejected) as error:
            items_of(source, clip)
        assert error.value.reason == "unreadable"
        assert error.value.detail.startswith("'a/v/t/2.jpg' is a link that leads out of the folder of clips")

    @pytest.mark.parametrize(
        ("path", "message"), [(None, "no such folder"), ("a/v/1.jpg", "holds no tracks; expected")]
    )
    def test_another_layout(self, tmp_path, path, message):
        if path:
            image(tmp_path / "crops" / path, 1)
        with pytest.raises(UserError, match=f"crops: {message}"):
            opened(tmp_path / "crops", "frames")


class TestVoxCeleb1Frames:
    @pytest.fixture
    def root(self, tmp_path):
        folder = tmp_path / "crops" / "Taylor_Swift" / "1.6" / "nuBaabkzzzI"
        for number in (1300, 1325, 1350, 4200, 4225, 9001):
            image(folder / f"{number:07d}.jpg", number // 100)
        return tmp_path / "crops"

    def test_a_jump_begins_a_track(self, root):
        source, (clip,) = opened(root, "voxceleb1_frames")
        assert (clip.name, clip.identity, clip.video) == (
            "Taylor_Swift/1.6/nuBaabkzzzI",
            "Taylor_Swift",
            "nuBaabkzzzI",
        )
        items = items_of(source, clip)
        name = "Taylor_Swift/nuBaabkzzzI/nuBaabkzzzI"
        assert described(items) == [
            (f"{name}/0", 1300, 52.0, 13),
            (f"{name}/0", 1325, 53.0, 13),
            (f"{name}/0", 1350, 54.0, 13),
            (f"{name}/1", 4200, 168.0, 42),
            (f"{name}/1", 4225, 169.0, 42),
            (f"{name}/2", 9001, 360.04, 90),
        ]
        ends = [number for number, item in enumerate(items) if isinstance(item, TrackEnd)]
        assert ends == [3, 6]

    def test_names_become_ids(self, root):
        (root / "vox1_meta.csv").write_text(META)
        source, (clip,) = opened(root, "voxceleb1_frames")
        assert clip.identity == "id10955"
        assert list(source.inputs()) == [root / "vox1_meta.csv"]
        image(root / "A.J._Buckley" / "1.6" / "v" / "0000000.jpg", 1)
        with pytest.raises(UserError, match=r"A\.J\._Buckley: A\.J\._Buckley is in no row of .*vox1_meta\.csv"):
            opened(root, "voxceleb1_frames")

    def test_image_of_another_name(self, root):
        image(root / "Taylor_Swift" / "1.6" / "nuBaabkzzzI" / "13.jpg", 1)
        source, (clip,) = opened(root, "voxceleb1_frames")
        with pytest.raises(Rejected, match=r"13\.jpg is not named by a frame's number") as error:
            items_of(source, clip)
        assert error.value.reason == "unreadable"

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (None, "crops: no such folder"),
            ("Ann/1.6/0000000.jpg", "crops: holds no videos; expected <Name>/1.6/"),
            ("Ann/1.3/v/0000000.jpg", r"crops/Ann/1\.3: no folder of this layout; expected"),
        ],
    )
    def test_another_layout(self, tmp_path, path, message):
        if path:
            image(tmp_path / "crops" / path, 1)
        with pytest.raises(UserError, match=message):
            opened(tmp_path / "crops", "voxceleb1_frames")
