"""Annotation files that are damaged or incomplete: one line that names the file, and the line in it if there is one."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import scipy.io
import set_layouts as layouts
from opened_sets import POSE, opened, reasons, refused, write_table

from fabnet.attributes import aflw
from fabnet.attributes.label_files import read_text
from fabnet.config import SetParams
from fabnet.errors import UserError


@pytest.fixture(scope="module")
def faces():
    return layouts.draw(8, 2)


def edit(path, old, new):
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_landmarks_align_celeba.txt", b"17\n", b"18\n", "line 1: says 18 images, but 17 follow"),
        ("list_landmarks_align_celeba.txt", b"17\n", b"many\n", "line 1: must be the number of images"),
        ("list_landmarks_align_celeba.txt", b"lefteye_x", b"leftear_x", "line 2: must be the names lefteye_x"),
        ("list_landmarks_align_celeba.txt", b"000001.jpg ", b"000001.jpg 7 ", "line 3: must be a name and 10 numbers"),
        ("list_landmarks_align_celeba.txt", b"202599.jpg    0", b"202599.jpg    x", "line 19: lefteye_x is 'x'"),
        ("list_landmarks_align_celeba.txt", b"000001.jpg", b"000002.jpg", "training.txt: lists 000001.jpg, which has"),
        ("list_landmarks_align_celeba.txt", b"000001.jpg", b"000038.jpg", "line 4: 000038.jpg comes a second time"),
        ("training.txt", b"000001.jpg", b"a name.jpg", "training.txt, line 1: 'a name.jpg' is no name of an image"),
        ("testing.txt", b"000445.jpg", b"000001.jpg", "testing.txt: lists 000001.jpg, which training.txt lists"),
    ],
)
def test_mafl(tmp_path, faces, file, old, new, message):
    layouts.write_mafl(tmp_path, faces, test=4)
    edit(tmp_path / file, old, new)
    assert message in refused(tmp_path, "mafl")


def test_mafl_incomplete(tmp_path, faces):
    layouts.write_mafl(tmp_path, faces, test=4, people=True)
    edit(tmp_path / "identity_CelebA.txt", b"000001.jpg", b"000002.jpg")
    message = refused(tmp_path, "mafl", identities="identity_CelebA.txt")
    assert "does not say who is on 000001.jpg" in message
    (tmp_path / "list_landmarks_align_celeba.txt").unlink()
    assert "has neither list_landmarks_align_celeba.txt nor" in refused(tmp_path, "mafl")
    (tmp_path / "testing.txt").unlink()
    assert "testing.txt: no such file" in refused(tmp_path, "mafl")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"n_points:  68", b"n_points:  49", "line 2: must be `n_points: 68`"),
        (b"{\n", b"{\n1 2\n", "line 73: ends with 69 points, not 68"),
        (b"}\n", b"", "line 71: ends with 68 points, not 68 and a brace"),
        (b"}\n", b"}\n1 2\n", "line 73: follows the closing brace"),
        (b"{\n", b"{\n1 2 3\n", "line 4: must be two numbers, not '1 2 3'"),
        (b"{\n", b"{\nnan 3\n", "line 4: must be two numbers"),
        (b"{\n", b"[\n", "line 3: must be of the header, not '['"),
        (b"{\n", b"\xff\xfe\n", "cannot be read as text"),
    ],
)
def test_w300(tmp_path, faces, old, new, message):
    layouts.write_w300(tmp_path, faces)
    path = tmp_path / f"{layouts.w300_name(2)}.pts"
    edit(path, old, new)
    refusal = refused(tmp_path, "w300")
    assert str(path) in refusal
    assert message in refusal


def test_w300_incomplete(tmp_path, faces):
    layouts.write_w300(tmp_path, faces)
    (tmp_path / f"{layouts.w300_name(0)}.jpg").unlink()
    assert reasons(opened(tmp_path, "w300")) == {"no image beside the .pts file": 1}
    (tmp_path / "ibug").rename(tmp_path / "iBUG")
    assert "ibug: no such folder" in refused(tmp_path, "w300")
    assert len(opened(tmp_path, "w300", subset="common").table()) == 13


def test_aflw_that_is_no_database(tmp_path, faces):
    layouts.write_aflw(tmp_path, faces)
    database = tmp_path / "data/aflw.sqlite"
    whole = database.read_bytes()
    for damaged in (b"not a database" * 100, whole[:5000], b""):
        database.write_bytes(damaged)
        assert "not the database of AFLW" in refused(tmp_path, "aflw")
    database.unlink()
    assert "has no data/aflw.sqlite or aflw.sqlite; is `annotation: mat` meant?" in refused(tmp_path, "aflw")
    assert "AFLWinfo_release.mat: no such file" in refused(tmp_path, "aflw", annotation="mat")


def test_aflw_with_angles_of_the_other_sign_is_noticed(tmp_path, monkeypatch, faces):
    monkeypatch.setattr(aflw, "_ENOUGH", 10)
    layouts.write_aflw(tmp_path, faces)

    def turn(column):
        with closing(sqlite3.connect(tmp_path / "data/aflw.sqlite")) as database, database:
            database.execute(f"UPDATE FacePose SET {column} = -{column}")

    for column in ("roll", "yaw"):
        turn(column)
        assert f"contradict the sign of {column}" in refused(tmp_path, "aflw")
        turn(column)
    assert len(opened(tmp_path, "aflw").table()) == 16


def test_aflw_with_a_list_of_other_images(tmp_path, faces):
    layouts.write_aflw(tmp_path, faces)
    (tmp_path / "list.txt").write_text("0/image99999.jpg\n")
    assert "list.txt: names no image of the set; the first is 0/image99999.jpg" in refused(
        tmp_path, "aflw", test_list="list.txt"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ra": None}, "has no ra; is it a file of AFLW?"),
        ({"ra": np.zeros((1, 16))}, "ra must be the numbers 1 to 16 in some order"),
        ({"bbox": np.zeros((16, 3))}, r"bbox must be N x 4 finite numbers"),
        ({"data": np.full((16, 38), np.nan)}, "data must be 16 x 38 finite numbers"),
    ],
)
def test_aflw_mat(tmp_path, faces, change, message):
    layouts.write_aflw_mat(tmp_path, faces)
    path = tmp_path / "AFLWinfo_release.mat"
    values = {key: value for key, value in scipy.io.loadmat(path).items() if key[0] != "_"} | change
    scipy.io.savemat(path, {key: value for key, value in values.items() if value is not None})
    assert message in refused(tmp_path, "aflw", annotation="mat")


def test_matlab_files_of_version_7_3(tmp_path, faces):
    """They are HDF5 behind a header of 512 bytes, of which the version is all that is needed here."""
    layouts.write_aflw_mat(tmp_path, faces)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "AFLWinfo_release.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(600))
    message = refused(tmp_path, "aflw", annotation="mat")
    assert message.endswith("a MATLAB file of version 7.3, which is not read; save it again with `save -v7` in MATLAB")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b",expression,", b",emotion,", "training.csv: has no column expression"),
        (b",-0.65331,0.65331\r\n", b",-0.65331\r\n", "training.csv, line 2: has 8 fields, not 9"),
    ],
)
def test_affectnet(tmp_path, faces, old, new, message):
    layouts.write_affectnet(tmp_path, faces, test=4)
    edit(tmp_path / "training.csv", old, new)
    assert message in refused(tmp_path, "affectnet")


def test_affectnet_numbers(tmp_path, faces):
    layouts.write_affectnet(tmp_path, faces, test=4)
    path = tmp_path / "validation.csv"
    lines = path.read_text().splitlines()
    for value, message in (("11", "expression is 11, not 0 to 10"), ("glad", "expression is 'glad', which is no")):
        fields = lines[2].split(",")
        path.write_text("\n".join([*lines[:2], ",".join([*fields[:6], value, *fields[7:]]), *lines[3:]]))
        refusal = refused(tmp_path, "affectnet")
        assert "validation.csv" in refusal
        assert message in refusal
        assert " 3" in refusal.partition(message)[0]
    path.unlink()
    assert "validation.csv: no such file" in refused(tmp_path, "affectnet")


def test_affectnet_arrays(tmp_path, faces):
    layouts.write_affectnet_arrays(tmp_path, faces, test=4)
    path = tmp_path / "train_set/annotations/3_exp.npy"
    for value in (np.array([1, 2]), np.array("sad"), np.array([{"a": 1}], dtype=object)):
        np.save(path, value)
        assert f"{path}: must hold the number of an expression" in refused(tmp_path, "affectnet")
    path.write_bytes(b"")
    assert f"{path}: must hold the number of an expression" in refused(tmp_path, "affectnet")


def test_neither_release_of_affectnet(tmp_path):
    assert "has neither training.csv nor the folder train_set" in refused(tmp_path, "affectnet")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dataFile_0001.txt", b"\t999\n", b"\n", "dataFile_0001.txt, line 1: has 61 fields, not 62"),
        ("EmotioNet_FACS_aws_2020_24600.csv", b"URL,", b"Address,", "line 1: names no column URL"),
        ("EmotioNet_FACS_aws_2020_24600.csv", b"'AU 26'", b"'AU26b'", "has no column AU26"),
    ],
)
def test_emotionet(tmp_path, faces, file, old, new, message):
    layouts.write_emotionet(tmp_path, faces, test=4)
    edit(tmp_path / file, old, new)
    assert message in refused(tmp_path, "emotionet")


def test_emotionet_units_that_are_no_answer(tmp_path, faces):
    layouts.write_emotionet(tmp_path, faces, test=4)
    path = tmp_path / "dataFile_0001.txt"
    lines = path.read_text().splitlines()
    for value, message in (("7", "AU1 is 7, not 0, 1 or 999"), ("yes", "AU1 is 'yes', which is no number")):
        fields = lines[1].split("\t")
        path.write_text("\n".join([lines[0], "\t".join([*fields[:2], value, *fields[3:]]), *lines[2:]]))
        assert f"dataFile_0001.txt, line 2: {message}" in refused(tmp_path, "emotionet")


def test_a_table_of_clips(tmp_path):
    names = layouts.write_clips(tmp_path, layouts.draw(3, 1))
    path = tmp_path / "labels.csv"
    for row, message in (
        (f"{names[0]},ann,bored", "labels.csv, line 2: expression is 'bored', not neutral"),
        (f"{names[0]},,happy", "labels.csv, line 2: identity is empty"),
    ):
        path.write_text(f"clip,identity,expression\n{row}\n")
        assert message in refused(tmp_path, "celebv", labels="labels.csv")
    path.write_text(f"clip,identity,expression,split\n{names[0]},ann,happy,dev\n")
    assert "labels.csv, line 2: split is 'dev'" in refused(tmp_path, "celebv", labels="labels.csv")
    path.write_text(f"clip,identity,expression\n{names[0]},ann,happy\nnowhere.mp4,bob,sad\n")
    assert reasons(opened(tmp_path, "celebv", labels="labels.csv")) == {"the image is missing": 1}


def test_a_folder_without_clips(tmp_path):
    assert "holds no clip" in refused(tmp_path, "celebv")


@pytest.mark.parametrize("kind", ["mafl", "w300", "aflw", "aflw2000", "affectnet", "emotionet", "celebv"])
def test_a_folder_that_is_none_or_empty_is_named(tmp_path, kind):
    with pytest.raises(UserError, match=r"nowhere: no such folder; put the set there or correct sets\.mine\.path"):
        opened(tmp_path / "nowhere", kind)
    assert str(tmp_path) in refused(tmp_path, kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "mafl", "subset": "common"}, "subset is no option of kind mafl, which has identities"),
        ({"kind": "affectnet", "boxes": "a.csv"}, "boxes is no option of kind affectnet, which has none of its own"),
        ({"kind": "synthetic", "exclude": "a.txt"}, "exclude is no option of kind synthetic"),
        ({"kind": "table"}, "needs `labels`"),
        ({"kind": "table", "labels": "/etc/labels.csv"}, "must be named below `path`"),
        ({"kind": "w300", "boxes": "../boxes.csv"}, "must be named below `path`"),
        ({"kind": "w300", "subset": "hard"}, "'full', 'common' or 'challenging'"),
        ({"kind": "celebv", "side": 0}, "greater than 0"),
    ],
)
def test_options_are_those_of_the_kind(options, message):
    with pytest.raises(ValueError, match=message):
        SetParams(path="somewhere", **options)


OWN = {"labels": "labels.csv"}


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (["a.jpg,1,0,0,x", "", "", "b.jpg,2,zero,0,x"], 5),  # fault 11
        (['a.jpg,1,0,0,"two\nlines"', "b.jpg,2,zero,0,x"], 4),  # fault 11
        (["a.jpg,1,0,0,x", "   ", "b.jpg,2,zero,0,x"], 4),
        (["a.jpg,1,0,0,x", ",,,,", "b.jpg,2,zero,0,x"], 4),  # a spreadsheet's empty row
        (['a.jpg,1,0,0,"a ""quoted"" word\n\n\nand more"', "", 'b.jpg,2,zero,0,"x\ny"'], 7),
        (['a.jpg,1,0,0,5" wide', "b.jpg,2,zero,0,x"], 3),
        (["a.jpg,1,0,0,x\r", "\r", "b.jpg,2,zero,0,x\r"], 4),
    ],
)
def test_a_wrong_cell_is_named_by_its_line(tmp_path, before, line):
    write_table(tmp_path, f"image,{POSE},note", *before)
    assert f"labels.csv, line {line}: pitch_deg is 'zero'" in refused(tmp_path, "table", **OWN)


def test_blank_lines_before_the_header(tmp_path):
    write_table(tmp_path, "", "", f"image,{POSE}", "a.jpg,1,2,3", "b.jpg,2,x,3")
    assert "labels.csv, line 5: pitch_deg is 'x'" in refused(tmp_path, "table", **OWN)


def test_a_ragged_line_is_named_by_its_line(tmp_path):
    write_table(tmp_path, f"image,{POSE}", "", "a.jpg,1,2", "b.jpg,2,1,3")
    assert refused(tmp_path, "table", **OWN).endswith("labels.csv, line 3: has 3 fields, not 4")


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_lines_are_those_of_a_text_editor(tmp_path, ends, last):
    """All kinds of line ends, with and without one at the end; also for the fast way, which blank lines turn away."""
    for blank, wanted in ((0, [2, 3]), (2, [2, 5])):
        text = ends.join(["name,value", "a,1", *[""] * blank, "b,2"]) + last * len(ends[:1])
        (tmp_path / "t.csv").write_bytes(text.encode())
        found = read_text(tmp_path / "t.csv", ["name"])
        assert found["name"].tolist() == ["a", "b"]
        assert found.index.tolist() == wanted
        assert found.index.name == "line"


def test_both_ways_read_the_same(tmp_path):
    rows = [f'{n},"cell, {n}",ü{n}' for n in range(50)]
    header = "number,text,name"
    for name, lines in (("fast", [header, *rows]), ("slow", [header, *rows[:25], "", *rows[25:]])):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    fast, slow = (read_text(tmp_path / name, ["name", "text"]) for name in ("fast", "slow"))
    assert fast.reset_index(drop=True).equals(slow.reset_index(drop=True))
    assert fast.dtypes.equals(slow.dtypes)
    assert slow.index.tolist() == [*range(2, 27), *range(28, 53)]


def test_a_quote_that_never_ends_is_one_line(tmp_path):
    write_table(tmp_path, f"image,{POSE},note", 'a.jpg,1,0,0,"x', "b.jpg,1,0,0,y")
    assert "\n" not in str(opened_or_refused(tmp_path))


def opened_or_refused(folder):
    try:
        return len(opened(folder, "table", **OWN).table())
    except UserError as error:
        return error


def test_lines_of_published_lists(tmp_path):
    layouts.write_mafl(tmp_path, layouts.draw(8, 2), test=4)
    path = tmp_path / "training.txt"
    path.write_text("\n\n" + path.read_text().replace("\n", "\n\n", 1).replace("000075.jpg", "no name"))
    assert "training.txt, line 6: 'no name' is no name of an image" in refused(tmp_path, "mafl")
    path.write_text(path.read_text().replace("no name", "000075.jpg"))
    landmarks = tmp_path / "list_landmarks_align_celeba.txt"
    head, names, first, second, rest = landmarks.read_text().split("\n", 4)
    landmarks.write_text("\n".join([head, names, first, "", "", second.replace("jpg ", "jpg x"), rest]))
    assert "list_landmarks_align_celeba.txt, line 6: " in refused(tmp_path, "mafl")


def test_rows_of_several_files_are_named_by_file_and_line(tmp_path):
    names = layouts.write_affectnet(tmp_path, layouts.draw(8, 2), test=4)
    (tmp_path / "Manually_Annotated_Images" / names[2]).unlink()
    lines = (tmp_path / "training.csv").read_text().splitlines()
    number = 1 + next(n for n, line in enumerate(lines) if names[2] in line)
    labelled = opened(tmp_path, "affectnet")
    labelled.table()
    first = labelled.left_out.set_index("reason")["first"]["the image is missing"]
    assert first == f"{tmp_path}/training.csv, line {number}: {names[2]}"
