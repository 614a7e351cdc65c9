"""A photograph with an EXIF orientation is the picture that a viewer shows, in labelled sets and everywhere else."""

import io

import cv2
import numpy as np
import pytest
import set_layouts as layouts
from opened_sets import POSE, boxes, crops_of, matches, opened
from PIL import Image, ImageOps

from fabnet.attributes.images import size_of
from fabnet.frames.conversion import decode_image, orientation
from fabnet.video.images import decode_upright

OWN = {"labels": "labels.csv"}


def picture(width=60, height=40):
    """Smooth, and different in all four corners."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)


def encoded(image, turn, kind="JPEG", before=b""):
    """An image file with an orientation, by Pillow, whose reading of it is the reference as well."""
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010E] = "x" * len(before) or "x"
    file = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(image).save(file, kind, exif=exif, **options)
    return file.getvalue()


def reference(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_as_pillow_and_opencv_show_it(tmp_path, kind, turn):
    data = encoded(picture(), turn, kind)
    assert orientation(data) == turn
    shown = decode_image(data, exif=True)
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    for other in (reference(data), opencv, decode_upright(data)):
        assert shown.shape == other.shape
        assert np.abs(shown.astype(int) - other).max() <= 2
    path = tmp_path / "image"
    path.write_bytes(data)
    assert size_of(path, exif=True) == ((shown.shape[1], shown.shape[0]), turn)
    assert size_of(path, exif=False) == ((60, 40), 1)
    assert decode_image(data, exif=False).shape == (40, 60, 3)


@pytest.mark.parametrize("turn", [0, 9, 65535])
def test_an_orientation_that_makes_no_sense_is_ignored(turn):
    data = encoded(picture(), 6).replace(
        b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06", b"\x01\x12\x00\x03\x00\x00\x00\x01" + turn.to_bytes(2)
    )
    data = data.replace(
        b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00", b"\x12\x01\x03\x00\x01\x00\x00\x00" + turn.to_bytes(2, "little")
    )
    assert orientation(data) == 1
    assert decode_image(data, exif=True).shape == (40, 60, 3)


def test_exif_longer_than_what_is_looked_at_first(tmp_path):
    data = encoded(picture(), 6, before=bytes(20_000))
    (tmp_path / "a.jpg").write_bytes(data)
    assert orientation(data[:4096]) is None
    assert size_of(tmp_path / "a.jpg", exif=True) == ((40, 60), 6)


def test_damaged_exif_raises_nothing():
    data = encoded(picture(), 6)
    random = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data)
        for at in random.integers(2, 60, 4):
            broken[at] = random.integers(0, 256)
        assert orientation(bytes(broken)) in (None, *range(1, 9))
        assert orientation(bytes(broken)[: random.integers(0, 80)]) in (None, *range(1, 9))


# -- labelled sets --------------------------------------------------------------------------------------------------

BOX = (5, 10, 25, 30)


def write_photos(folder, turns):
    """The same portrait picture, stored turned as a camera would, with a box of the upright one."""
    folder.mkdir(exist_ok=True)
    upright = picture(40, 60)
    back = {1: lambda a: a, 3: lambda a: np.rot90(a, 2), 6: lambda a: np.rot90(a), 8: lambda a: np.rot90(a, -1)}
    rows = []
    for turn in turns:
        data = encoded(np.ascontiguousarray(back[turn](upright)), turn)
        assert reference(data).shape == upright.shape
        (folder / f"turned{turn}.jpg").write_bytes(data)
        rows.append(f"turned{turn}.jpg,{','.join(map(str, BOX))},1,2,{turn}")
    lines = [f"image,left,top,right,bottom,{POSE}", *rows]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return upright


def test_boxes_are_of_the_picture_that_a_viewer_shows(tmp_path, capsys):
    """Fault 8."""
    upright = write_photos(tmp_path, (1, 3, 6, 8))
    labelled = opened(tmp_path, "table", **OWN)
    crops = crops_of(labelled, 20)
    left, top, right, bottom = BOX
    for name, crop in crops.items():
        assert matches(crop, upright[top:bottom, left:right]), name
    told = [line for line in capsys.readouterr().err.splitlines() if "EXIF" in line]
    assert len(told) == 1
    assert "labelled set mine: 3 photos are turned upright, as their EXIF orientation says" in told[0]


def test_whole_images_have_the_size_that_a_viewer_shows(tmp_path):
    write_photos(tmp_path, (1, 6))
    (tmp_path / "labels.csv").write_text(f"image,{POSE}\nturned1.jpg,1,2,3\nturned6.jpg,1,2,4\n")
    assert boxes(opened(tmp_path, "table", **OWN).table()) == [[0, 0, 40, 60]]


def test_stored_pixels_when_told(tmp_path, capsys):
    write_photos(tmp_path, (6,))
    labelled = opened(tmp_path, "table", **OWN, exif="ignore")
    stored = np.rot90(picture(40, 60))
    left, top, right, bottom = BOX
    assert matches(crops_of(labelled, 20)["turned6.jpg"], stored[top:bottom, left:right])
    assert "EXIF" not in capsys.readouterr().err


def test_published_sets_were_annotated_on_stored_pixels(tmp_path):
    faces = layouts.draw(8, 2)
    names = layouts.write_affectnet(tmp_path, faces, test=4)
    path = tmp_path / "Manually_Annotated_Images" / names[0]
    path.write_bytes(encoded(faces.images[0], 6))
    labelled = opened(tmp_path, "affectnet")
    face = labelled.table().set_index("image").loc[names[0], "face_id"]
    assert matches(crops_of(labelled, layouts.SIZE)[face], faces.images[0])
