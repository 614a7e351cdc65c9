"""Every labelled set, written in its release's layout and read again: faces, labels, boxes, splits and crops."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import set_layouts as layouts
from opened_sets import boxes, crops_of, matches, opened, points
from set_layouts import SIZE

from fabnet import tables
from fabnet.attributes import aflw
from fabnet.attributes.mafl import CROP
from fabnet.attributes.sets import TASKS, targets
from fabnet.tables import ANGLE_COLUMNS, UNIT_COLUMNS

SHARED = Path(__file__).parents[2] / ".." / "shared" / "formats"


@pytest.fixture(scope="module")
def faces():
    return layouts.draw()


# -- MAFL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table_form", [False, True], ids=["text", "csv"])
def test_mafl(tmp_path, capsys, faces, table_form):
    names = layouts.write_mafl(tmp_path, faces, test=12, table=table_form)
    labelled = opened(tmp_path, "mafl")
    table = labelled.table().set_index("image", drop=False)
    assert table.index.tolist() == names
    assert (table["split"] == "test").to_numpy().nonzero()[0].tolist() == list(range(68, 80))
    assert 0 < (table["split"] == "validation").sum() < 20
    np.testing.assert_array_equal(points(table, "landmarks5").reshape(80, 10), layouts.mafl_points(faces))
    assert [task.name for task in labelled.tasks] == ["landmarks5"]
    assert boxes(table) == [[35, 70, 143, 183]]
    # the crop of FAb-Net's authors: top 35 rows off, then 35 pixels on every side of what is left
    image = labelled.image(names[3])
    assert image.shape == (218, 178, 3)
    authors = image[35:][35:-35, 35:-35]
    np.testing.assert_array_equal(
        crops_of(labelled, 64)[names[3][:-4]], cv2.resize(authors, (64, 64), interpolation=cv2.INTER_AREA)
    )
    told = capsys.readouterr().err
    assert "68 faces of train and validation (published: 19,000; 18,932 fewer)" in told
    assert "12 faces of test (published: 1,000; 988 fewer)" in told


def test_mafl_with_people_keeps_the_test_set_and_leaves_nobody_in_two_splits(tmp_path, faces):
    layouts.write_mafl(tmp_path, faces, test=10, people=True)  # person 17 has two faces on each side
    labelled = opened(tmp_path, "mafl", identities="identity_CelebA.txt")
    table = labelled.table()
    assert (table["split"] == "test").sum() == 10
    assert table.groupby("identity")["split"].nunique().max() == 1
    assert labelled.left_out[["reason", "faces"]].to_numpy().tolist() == [
        ["of a person who is also in the test set", 2]
    ]
    assert table["identity"].nunique() == 20


def test_mafl_targets_are_relative_to_the_crop(tmp_path, faces):
    layouts.write_mafl(tmp_path, faces, test=12)
    table = opened(tmp_path, "mafl").table()
    expected = (layouts.mafl_points(faces).reshape(-1, 5, 2) - (CROP["left"], CROP["top"])) / (108, 113) * 2 - 1
    np.testing.assert_allclose(targets(table, TASKS["landmarks5"]).reshape(-1, 5, 2), expected, atol=1e-6)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no sample of the released files is at hand")
def test_official_lists_of_mafl():
    from fabnet.attributes.mafl import _listed

    faces = _listed(SHARED / "mafl")
    assert faces["split"].value_counts().to_dict() == {"train": 19_000, "test": 1_000}
    assert faces["image"].iloc[:3].tolist() == ["142977.jpg", "039119.jpg", "000003.jpg"]
    assert faces.loc[faces["split"] == "test", "image"].iloc[:2].tolist() == ["051636.jpg", "004509.jpg"]


# -- 300-W ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subset", "tests"), [("full", (3, 4, 5)), ("common", (3, 4)), ("challenging", (5,))])
def test_w300(tmp_path, capsys, faces, subset, tests):
    layouts.write_w300(tmp_path, faces)
    labelled = opened(tmp_path, "w300", subset=subset)
    table = labelled.table().set_index("face_id", drop=False)
    expected = {layouts.w300_name(n): n for n in range(80) if n % 6 < 3 or n % 6 in tests}
    assert set(table.index) == set(expected)
    order = [expected[face] for face in table.index]
    assert {expected[face] % 6 for face in table.index[table["split"] == "test"]} == set(tests)
    placed = faces.points68[order] + layouts.W300_AT
    np.testing.assert_allclose(points(table, "landmarks68"), placed, atol=1e-6)
    box = table[["left", "top", "right", "bottom"]].to_numpy()
    low, high = placed.min(axis=1), placed.max(axis=1)
    side = 1.2 * (high - low).max(axis=1)
    assert np.abs(box[:, 2] - box[:, 0] - side).max() <= 0.5
    np.testing.assert_array_equal(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    assert np.abs((box[:, :2] + box[:, 2:] - low - high) / 2).max() <= 1
    published = {"full": 689, "common": 554, "challenging": 135}
    assert f"of test (published: {published[subset]};" in capsys.readouterr().err
    assert "landmarks68" in [task.name for task in labelled.tasks]


def test_w300_crops_show_what_their_landmarks_say(tmp_path, faces):
    layouts.write_w300(tmp_path, faces)
    labelled = opened(tmp_path, "w300")
    table = labelled.table()
    crops = crops_of(labelled, 96)
    for row in table.iloc[::9].itertuples():
        number = next(n for n in range(80) if layouts.w300_name(n) == row.face_id)
        canvas = layouts.on_canvas(faces.images[number], *layouts.W300_AT, *layouts.W300_SIZE)
        left, top, right, bottom = map(int, (row.left, row.top, row.right, row.bottom))
        y, x = (np.clip(np.arange(a, b), 0, n - 1) for a, b, n in ((top, bottom, 90), (left, right, 110)))
        expected = cv2.resize(canvas[np.ix_(y, x)], (96, 96), interpolation=cv2.INTER_LINEAR)
        assert matches(crops[row.face_id], expected)


def test_w300_with_boxes_of_a_detector(tmp_path, faces):
    layouts.write_w300(tmp_path, faces)
    known = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.[jp][pn]g"))
    (tmp_path / "boxes.csv").write_text(
        "image,left,top,right,bottom\n" + "".join(f"{name},20,30,60,50\n" for name in known[1:])
    )
    labelled = opened(tmp_path, "w300", boxes="boxes.csv")
    assert boxes(labelled.table()) == [[16, 16, 64, 64]]
    assert labelled.left_out[["reason", "faces"]].to_numpy().tolist() == [["no box in boxes.csv", 1]]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no sample of the released files is at hand")
def test_released_pts_files():
    from fabnet.attributes.w300 import read_pts

    files = sorted((SHARED / "300w").glob("*.pts"))
    assert len(files) == 5
    for path in files:
        numbers = [line.split() for line in path.read_text().splitlines()[3:-1]]
        np.testing.assert_allclose(read_pts(path), np.array(numbers, dtype=float) - 0.5)
    np.testing.assert_allclose(read_pts(files[0])[0], (115.167660 - 0.5, 220.807529 - 0.5))


# -- AFLW -----------------------------------------------------------------------------------------------------------


def test_aflw(tmp_path, capsys, faces):
    layouts.write_aflw(tmp_path, faces, bare=(6,))
    listed = [layouts.aflw_name(number) for number in (0, 10, 20)]
    (tmp_path / "kepler.txt").write_text("\n".join([listed[0], *(name.rpartition("/")[2] for name in listed[1:])]))
    labelled = opened(tmp_path, "aflw", test_list="kepler.txt")
    table = labelled.table()
    order = [int(face) - 39341 for face in table["face_id"]]
    assert order == [number for number in range(80) if number != 6]
    np.testing.assert_allclose(table[list(ANGLE_COLUMNS)], faces.angles[order], atol=1e-9)
    assert set(np.array(order)[(table["split"] == "test").to_numpy()]) == {0, 1, 10, 11, 20, 21}
    assert table.groupby("image")["split"].nunique().max() == 1
    assert [task.name for task in labelled.tasks] == ["pose"]
    assert labelled.left_out[["reason", "faces"]].to_numpy().tolist() == [["it has no rectangle", 1]]
    assert "3 images of test (published: 1,000; 997 fewer)" in capsys.readouterr().err
    crops = crops_of(labelled, SIZE)
    assert all(matches(crops[str(39341 + number)], faces.images[number]) for number in order)


def test_aflw_without_a_list_keeps_photographs_in_one_split(tmp_path, faces):
    layouts.write_aflw(tmp_path, faces)
    table = opened(tmp_path, "aflw").table()
    assert set(table["split"]) == set(tables.SPLITS)
    assert table.groupby("image")["split"].nunique().max() == 1
    assert not table["split"].equals(opened(tmp_path, "aflw", seed=1).table()["split"])


def test_aflw_landmarks_of_faces_that_show_all(tmp_path, faces):
    layouts.write_aflw(tmp_path, faces, hidden=(2, 3, 40))
    labelled = opened(tmp_path, "aflw", landmarks=True)
    table = labelled.table()
    order = [int(face) - 39341 for face in table["face_id"]]
    assert set(range(80)) - set(order) == {2, 3, 40}
    corners = np.array([layouts.aflw_corner(number) for number in order])
    np.testing.assert_allclose(points(table, "landmarks5"), faces.points5[order] + corners[:, None])
    assert labelled.left_out[["reason", "faces"]].to_numpy().tolist() == [["a landmark is invisible", 3]]
    assert {task.name for task in labelled.tasks} == {"pose", "landmarks5"}


def test_aflw_is_only_read(tmp_path, faces):
    layouts.write_aflw(tmp_path, faces)
    database = tmp_path / "data/aflw.sqlite"
    before = database.read_bytes()
    database.chmod(0o444)
    assert len(opened(tmp_path, "aflw").table()) == 80
    assert database.read_bytes() == before
    assert sorted(path.name for path in database.parent.iterdir()) == ["aflw.sqlite", "flickr"]


def test_aflw_mat(tmp_path, monkeypatch, faces):
    monkeypatch.setattr(aflw, "TRAIN", 60)
    ra = layouts.write_aflw_mat(tmp_path, faces, hidden=(5,))
    labelled = opened(tmp_path, "aflw", annotation="mat")
    table = labelled.table()
    order = [int(face) - 1 for face in table["face_id"]]
    assert order == [number for number in range(80) if number != 5]
    assert set(np.array(order)[(table["split"] == "test").to_numpy()]) == set(ra[60:] - 1) - {5}
    corners = np.array([layouts.aflw_corner(number) for number in order])
    np.testing.assert_allclose(points(table, "landmarks5"), faces.points5[order] + corners[:, None])
    crops = crops_of(labelled, SIZE)
    assert all(matches(crops[str(number + 1)], faces.images[number]) for number in order)


def test_aflw2000(tmp_path, capsys, faces):
    layouts.write_aflw2000(tmp_path, faces)
    labelled = opened(tmp_path, "aflw2000")
    table = labelled.table()
    np.testing.assert_allclose(table[list(ANGLE_COLUMNS)], faces.angles, atol=1e-9)
    np.testing.assert_allclose(points(table, "landmarks68"), faces.points68, atol=1e-9)
    np.testing.assert_allclose(points(table, "landmarks5"), faces.points5, atol=1e-9)
    assert "80 faces of all splits (published: 1,969; 1,889 fewer)" in capsys.readouterr().err


# -- AffectNet and EmotioNet ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [True, False])
def test_affectnet(tmp_path, capsys, faces, header):
    names = layouts.write_affectnet(tmp_path, faces, test=20, header=header)
    labelled = opened(tmp_path, "affectnet")
    table = labelled.table()
    assert table["image"].tolist() == names
    assert table["expression"].tolist() == faces.expressions
    assert (table["split"] == "test").tolist() == [False] * 60 + [True] * 20
    assert dict(labelled.left_out[["reason", "faces"]].to_numpy().tolist()) == {
        "labelled `none`": 1,
        "labelled `uncertain`": 1,
        "labelled `no face`": 1,
    }
    crops = crops_of(labelled, SIZE)
    assert all(matches(crops[name[:-4]], image) for name, image in zip(names, faces.images, strict=True))
    assert "60 faces of train and validation (published: 287,651;" in capsys.readouterr().err


def test_affectnet_arrays(tmp_path, faces):
    layouts.write_affectnet_arrays(tmp_path, faces, test=20)
    labelled = opened(tmp_path, "affectnet")
    table = labelled.table()
    assert table["expression"].tolist() == faces.expressions
    assert table["image"].iloc[:2].tolist() == ["train_set/images/0.jpg", "train_set/images/1.jpg"]
    assert (table["split"] == "test").tolist() == [False] * 60 + [True] * 20
    assert [task.name for task in labelled.tasks] == ["expression"]


def test_emotionet(tmp_path, capsys, faces):
    layouts.write_emotionet(tmp_path, faces, test=20, unknown=(3, 70))
    labelled = opened(tmp_path, "emotionet")
    table = labelled.table()
    order = [number for number in range(80) if number not in (3, 70)]
    assert table["image"].tolist() == [layouts.emotionet_name(number) for number in order]
    np.testing.assert_array_equal(table[list(UNIT_COLUMNS)], faces.units[order])
    assert (table["split"] == "test").tolist() == [number >= 60 for number in order]
    left_out = labelled.left_out
    assert left_out[["reason", "faces"]].to_numpy().tolist() == [["one of the eleven units is not annotated", 2]]
    assert "dataFile_0001.txt, line 4:" in left_out["first"][0]
    crops = crops_of(labelled, SIZE)  # the centred square
    assert all(matches(crops[layouts.emotionet_name(number)[:-4]], faces.images[number]) for number in order)
    assert "(published: 950,000;" in capsys.readouterr().err


@pytest.mark.parametrize("absent", ["dataFile_*.txt", "EmotioNet_FACS*.csv"])
def test_emotionet_of_one_annotation_is_split(tmp_path, faces, absent):
    layouts.write_emotionet(tmp_path, faces, test=40)
    for path in tmp_path.glob(absent):
        path.unlink()
    table = opened(tmp_path, "emotionet").table()
    assert len(table) == 40
    assert set(table["split"]) == set(tables.SPLITS)


def test_emotionet_with_boxes(tmp_path, faces):
    layouts.write_emotionet(tmp_path, faces, test=20)
    rows = [f"{layouts.emotionet_name(number)},10,4,{SIZE + 10},{SIZE - 4}\n" for number in range(80)]
    (tmp_path / "boxes.csv").write_text("image,left,top,right,bottom\n" + "".join(rows))
    labelled = opened(tmp_path, "emotionet", boxes="boxes.csv")
    assert boxes(labelled.table()) == [[10, 0, SIZE + 10, SIZE]]
