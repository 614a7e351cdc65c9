"""Labelled sets that are damaged or contradict themselves: a clear error, or an exclusion that is counted."""

import numpy as np
import pandas as pd
import pytest
import scipy.io
import set_layouts as layouts
from opened_sets import opened, reasons, refused
from set_layouts import SIZE

from fabnet.errors import ConfigError, TableError, UserError
from fabnet.quality.set_audit import audit_images, audit_set


@pytest.fixture(scope="module")
def faces():
    return layouts.draw(8, 2)


def own(path, faces, change=lambda table: table, **options):
    """The user's own set with a change of its table."""
    table = change(layouts.own_table(faces))
    layouts.write_own(path, faces, table)
    return opened(path, "table", labels="labels.csv", images="pictures", **options)


def own_refused(path, faces, change, **options):
    with pytest.raises(UserError) as error:
        own(path, faces, change, **options).table()
    assert "\n" not in str(error.value)
    return str(error.value)


def set_cell(row, column, value):
    def change(table):
        if table[column].dtype.kind in "iuf" and not isinstance(value, float):
            table[column] = table[column].astype(object)
        if isinstance(value, np.ndarray):
            table.at[row, column] = value
        else:
            table.loc[row, column] = value
        return table

    return change


# -- what is left out, and counted ----------------------------------------------------------------------------------


def test_missing_and_unreadable_images_are_counted_and_shown(tmp_path, capsys, faces):
    labelled = own(tmp_path, faces)
    (tmp_path / "pictures/face001.png").unlink()
    (tmp_path / "pictures/face002.png").write_bytes(b"")
    (tmp_path / "pictures/face003.png").write_bytes(b"<html>404</html>")
    assert reasons(labelled) == {"the image is missing": 1, "the image cannot be read": 2}
    assert len(labelled.table()) == 13
    first = labelled.left_out.set_index("reason")["first"]
    assert first["the image is missing"].endswith("labels.csv, line 3: face001.png")
    told = capsys.readouterr().err
    assert "1 left out: the image is missing (first: " in told
    assert audit_images(labelled) == {"left_out": reasons(labelled)}


def test_boxes_outside_their_image_are_counted(tmp_path, faces):
    labelled = own(tmp_path, faces, lambda t: t.assign(left=[SIZE, *[2] * 15], right=[SIZE + 9, *[20] * 15]))
    assert reasons(labelled) == {"the box lies outside the image": 1}


def test_a_box_that_leaves_its_image_partly_is_used(tmp_path, faces):
    labelled = own(tmp_path, faces, lambda t: t.assign(left=-5))
    assert reasons(labelled) == {}
    row = next(labelled.table().itertuples())
    np.testing.assert_array_equal(labelled.crop(row, SIZE)[:, 0], labelled.crop(row, SIZE)[:, 1])


@pytest.mark.parametrize("column", ["yaw_deg", "expression", "au12", "landmarks68"])
def test_faces_without_a_label_are_counted(tmp_path, faces, column):
    empty = {"expression": None, "landmarks68": np.full(136, np.nan)}.get(column, np.nan)
    labelled = own(tmp_path, faces, set_cell(4, column, empty))
    assert reasons(labelled) == {f"{column} is not given": 1}
    assert "face004.png" not in labelled.table()["image"].tolist()


def test_rows_that_come_twice_count_once(tmp_path, faces):
    def repeat(table):
        return pd.concat([table, table.iloc[[3, 3, 5]]], ignore_index=True)

    labelled = own(tmp_path, faces, repeat)
    assert reasons(labelled) == {"listed twice": 3}
    assert len(labelled.table()) == 16


def test_listed_images_are_left_out(tmp_path, faces):
    labelled = own(tmp_path, faces, exclude="not_these.txt")
    (tmp_path / "not_these.txt").write_text("face001.png\n\nface009.png\n")
    assert reasons(labelled) == {"listed in `exclude`": 2}


def test_an_image_of_another_size_than_mafl_has(tmp_path, faces):
    names = layouts.write_mafl(tmp_path, faces, test=4)
    layouts.save(tmp_path / "img_align_celeba" / names[0], np.zeros((100, 100, 3), np.uint8))
    assert reasons(opened(tmp_path, "mafl")) == {"the image is not 178 x 218": 1}


def test_a_set_of_which_nothing_is_left_says_why(tmp_path, faces):
    labelled = own(tmp_path, faces)
    for path in (tmp_path / "pictures").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"labels\.csv: no face can be used; 16 left out: the image is missing"):
        labelled.table()


def test_extreme_angles_of_aflw2000_are_counted(tmp_path, faces):
    layouts.write_aflw2000(tmp_path, faces)
    path = tmp_path / "image00003.mat"
    pose = {"Pose_Para": np.array([[0, 2.0, 0, 0, 0, 0, 1]]), "pt3d_68": scipy.io.loadmat(path)["pt3d_68"]}
    scipy.io.savemat(path, pose)
    assert reasons(opened(tmp_path, "aflw2000")) == {"an angle beyond 99 degrees": 1}


# -- damaged images, found before hours of embedding ----------------------------------------------------------------


def test_images_that_are_cut_short_are_all_named(tmp_path, faces):
    names = layouts.write_affectnet(tmp_path, faces, test=4)
    for name in names[2:4]:
        path = tmp_path / "Manually_Annotated_Images" / name
        path.write_bytes(path.read_bytes()[:-400])
    labelled = opened(tmp_path, "affectnet")
    with pytest.raises(UserError) as error:
        audit_images(labelled)
    message = str(error.value)
    assert message.startswith("2 of 16 faces cannot be seen: labelled set mine, face ")
    assert all(f"Manually_Annotated_Images/{name}: cannot be decoded: damaged JPEG" in message for name in names[2:4])
    assert "sets.mine.exclude" in message
    (tmp_path / "cut.txt").write_text("\n".join(names[2:4]))
    assert audit_images(opened(tmp_path, "affectnet", exclude="cut.txt"))["left_out"]["listed in `exclude`"] == 2


def test_a_crop_of_a_file_that_has_gone_names_it(tmp_path, faces):
    labelled = own(tmp_path, faces)
    row = next(labelled.table().itertuples())
    (tmp_path / "pictures" / row.image).unlink()
    with pytest.raises(UserError, match=r"face face000\.png: .*face000\.png: cannot be read: No such file"):
        labelled.crop(row, 16)


def test_a_clip_cut_short_is_named(tmp_path):
    faces = layouts.draw(3, 1)
    names = layouts.write_clips(tmp_path, faces)
    (tmp_path / names[1]).write_bytes((tmp_path / names[1]).read_bytes()[:200])
    labelled = opened(tmp_path, "celebv")
    assert reasons(labelled) == {"the image cannot be read": 1}
    row = next(labelled.table().itertuples())
    data = bytearray((tmp_path / names[0]).read_bytes())
    begin = data.find(b"mdat")
    data[begin + 4 :] = bytes(len(data) - begin - 4)
    (tmp_path / names[0]).write_bytes(data)
    with pytest.raises(UserError, match=f"{names[0]}: (cannot be decoded|has no frame)"):
        labelled.crop(row, 16)
    (tmp_path / "cut.txt").write_text(f"{names[0]}\n")
    assert reasons(opened(tmp_path, "celebv", exclude="cut.txt"))["listed in `exclude`"] == 1


# -- the user's own table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("yaw_deg", "left", "labels.csv, line 5: yaw_deg is 'left', which is no number"),
        ("yaw_deg", 200.0, "labels.csv, line 5: yaw_deg is 200, not -180 to 180"),
        ("au12", 5.0, "labels.csv, line 5: au12 is 5, not 0 to 1"),
        ("au12", "yes", "labels.csv, line 5: au12 is 'yes', which is no number"),
        ("expression", "bored", "labels.csv, line 5: expression is 'bored', not 0 to 7 or neutral, happy"),
        ("expression", "8", "labels.csv, line 5: expression is '8', not 0 to 7"),
        ("landmarks5", np.arange(9.0), "labels.csv, line 5: landmarks5 must be 10 numbers"),
        ("left", "a", "labels.csv, line 5: left is 'a', which is no number"),
        ("right", 1.0, "labels.csv, line 5: the box 2, 1, 1, 45 has no area"),
        ("split", "dev", "labels.csv, line 5: split is 'dev', not train, validation, test"),
        ("split", "test", "labels.csv, lines 4 and 5: M001 is in two splits"),
        ("identity", "", "labels.csv, line 5: identity is empty"),
        ("image", None, "labels.csv, line 5: image is empty"),
    ],
)
def test_a_wrong_cell_names_file_and_line(tmp_path, faces, column, value, message):
    assert message in own_refused(tmp_path, faces, set_cell(3, column, value))


def test_rows_that_contradict_each_other(tmp_path, faces):
    def contradict(table):
        again = table.iloc[[3]].assign(expression="sad" if table["expression"][3] != "sad" else "happy")
        return pd.concat([table, again], ignore_index=True)

    message = own_refused(tmp_path, faces, contradict)
    assert "labels.csv, lines 5 and 18 are about the same face of face003.png, but differ in expression" in message


def test_columns_that_are_wrong_are_named(tmp_path, faces):
    assert "has no column image" in own_refused(tmp_path, faces, lambda t: t.rename(columns={"image": "file"}))
    assert "has some units, but not au26" in own_refused(tmp_path, faces, lambda t: t.drop(columns="au26"))
    assert "has some angles, but not roll_deg" in own_refused(tmp_path, faces, lambda t: t.drop(columns="roll_deg"))
    assert "has top, right, bottom, but not left" in own_refused(tmp_path, faces, lambda t: t.drop(columns="left"))
    assert "has no column of labels" in own_refused(tmp_path, faces, lambda t: t[["image", "identity", "split"]])
    columns = {"image": "picture"}
    assert "has no column picture, which `columns` names" in own_refused(tmp_path, faces, lambda t: t, columns=columns)


def test_a_wrong_name_among_columns_is_named(tmp_path, faces):
    with pytest.raises(ConfigError, match=r"sets\.mine\.columns\.smile: no such column; there are image"):
        own(tmp_path, faces, columns={"smile": "image"}).table()


def test_a_ragged_line_names_file(tmp_path, faces):
    layouts.write_own(tmp_path, faces, layouts.own_table(faces))
    with open(tmp_path / "labels.csv", "a") as file:
        file.write("face000.png,only,three\n")
    message = refused(tmp_path, "table", labels="labels.csv", images="pictures")
    assert message.endswith("labels.csv, line 18: has 3 fields, not 24")


def test_a_parquet_file_that_is_none(tmp_path, faces):
    layouts.write_own(tmp_path, faces, layouts.own_table(faces))
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 not")
    assert "cannot be read as Parquet" in refused(tmp_path, "table", labels="labels.parquet", images="pictures")
    assert "no such file" in refused(tmp_path, "table", labels="nowhere.csv", images="pictures")
    assert "no such folder" in refused(tmp_path, "table", labels="labels.csv", images="photos")


def test_classes_that_nobody_shows_are_told(tmp_path, faces):
    def plain(table):
        return table.assign(expression="happy", au12=0.0)

    counts = audit_set("mine", own(tmp_path, faces, plain).table(), None)
    assert set(counts["absent"]) == {"train", "validation", "test"}
    assert {"neutral", "contempt", "au12"} <= set(counts["absent"]["test"])
    assert "happy" not in counts["absent"]["train"]


def test_a_person_in_two_splits_is_illegal_whatever_the_reader(tmp_path, faces):
    table = own(tmp_path, faces).table()
    table = table.assign(identity="one")
    with pytest.raises(TableError, match="one_split_per_identity"):
        audit_set("mine", table, None)
