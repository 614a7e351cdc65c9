"""Boxes as tables have them: every form and unit gives the same pixels, or a line that says what to do."""

import numpy as np
import pandas as pd
import pytest
import set_layouts as layouts
from opened_sets import POSE, boxes, opened, reasons, refused, write_table

from fabnet.attributes.boxes import squares
from fabnet.attributes.own_table import read_labels
from fabnet.config import SetParams
from fabnet.errors import ConfigError, UserError

OWN = {"labels": "labels.csv"}
WIDTH, HEIGHT = 450, 300


def table_of(folder, header, *rows, **options):
    """The table of a set whose images are 450 x 300, the first a.jpg and the second b.jpg."""
    lines = [f"image,{header},{POSE}", *(f"{'ab'[n]}.jpg,{row},{n},2,3" for n, row in enumerate(rows))]
    return opened(write_table(folder, *lines), "table", **OWN, **options).table()


def refusal(folder, header, *rows, **options):
    lines = [f"image,{header},{POSE}", *(f"{'ab'[n]}.jpg,{row},{n},2,3" for n, row in enumerate(rows))]
    return refused(write_table(folder, *lines), "table", **OWN, **options)


# -- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("left,top,right,bottom", "100,50,300,250"),
        ("x,y,width,height", "100,50,200,200"),
        ("left,top,width,height", "100,50,200,200"),  # dlib
        ("x_center,y_center,width,height", "200,150,200,200"),  # YOLO, in pixels
        ("xmin,ymin,xmax,ymax", "100,50,300,250"),  # Pascal VOC
        ("xmin,ymin,width,height", "100,50,200,200"),  # MediaPipe, in pixels
        ("left,top,right,bottom,x,y", "100,50,300,250,0.1,0.2"),  # a gaze
        ("left,top,right,bottom,x,y,width,height", "100,50,300,250,0.1,0.2,450,300"),  # and the size of the image
        ("left,top,right,bottom,x,y,width,height", "100,50,300,250,100,50,200,200"),  # the box twice
        ("left,top,right,bottom,x,y,width,height", "100,50,300,250,100,50,201,201"),  # its last pixel counted
        ("width,height,xmin,ymin,xmax,ymax", "450,300,100,50,300,250"),
        ("left,top,right,bottom,width", "100,50,300,250,wide"),
    ],
)
def test_every_form_of_a_box(tmp_path, header, row):
    assert boxes(table_of(tmp_path, header, row)) == [[100, 50, 300, 250]]


@pytest.mark.parametrize(
    ("header", "row"),
    [("width,height", "450,300"), ("x,y", "0.1,-0.3"), ("x,y,width,height", "0.1,0.2,450,300"), ("left,right", "1,0")],
)
def test_columns_that_are_no_box(tmp_path, header, row, capsys):
    assert boxes(table_of(tmp_path, header, row)) == [[0, 0, WIDTH, HEIGHT]]
    told = capsys.readouterr().err.partition("labels.csv: no box is taken from ")[2].partition("\n")[0]
    assert sorted(told.split(", ")) == sorted(header.split(","))


def test_a_table_of_tensorflow_is_read_as_it_is(tmp_path):
    """Fault 7."""
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,450,450,happy,100,100,300,300"]
    labelled = opened(write_table(tmp_path, *lines, size=(450, 450)), "table", **OWN)
    assert boxes(labelled.table()) == [[100, 100, 300, 300]]
    assert labelled.table()["expression"].tolist() == ["happy"]
    assert labelled.table()["image"].tolist() == ["a.jpg"]


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("left,top,right", "1,2,30", "has left, top, right, but not bottom"),
        ("x,y,width", "1,2,30", "has x, y, width, but not height"),
        ("left,top", "1,2", "has left, top, but not bottom, right"),
        ("x_center,y_center", "1,2", "has x_center, y_center, but not height, width"),
    ],
)
def test_half_a_box_is_refused(tmp_path, header, row, said):
    assert said in refusal(tmp_path, header, row)


def test_two_boxes_that_contradict_each_other(tmp_path):
    header = "left,top,right,bottom,x,y,width,height"
    said = refusal(tmp_path, header, "100,50,300,250,100,50,200,200", "100,50,300,250,10,20,60,60")
    assert (
        "labels.csv, line 3: left, top, right, bottom give the box 100, 50, 300, 250, but x, y, width, height" in said
    )
    assert "give 10, 20, 70, 80" in said


# -- units ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("left,top,right,bottom", "0.2,0.2,0.7,0.7"),
        ("x,y,width,height", "0.2,0.2,0.5,0.5"),
        ("x_center,y_center,width,height", "0.45,0.45,0.5,0.5"),
        ("xmin,ymin,width,height", "0.2,0.2,0.5,0.5"),
    ],
)
def test_fractions_are_converted_when_told_and_refused_otherwise(tmp_path, header, row):
    """Fault 9."""
    table = table_of(tmp_path, header, row, boxes="fraction")
    np.testing.assert_allclose(boxes(table), [[0.2 * WIDTH, 0.2 * HEIGHT, 0.7 * WIDTH, 0.7 * HEIGHT]])
    said = refusal(tmp_path, header, row)
    assert "labels.csv: boxes look like fractions of the image (0.2, 0.2, 0.7, 0.7 in line 2)" in said
    assert "`boxes: fraction` converts them" in said


@pytest.mark.parametrize("row", ["20,20,70,70", "20%,20%,70%,70 %"])
def test_percentages_are_converted_when_told_and_refused_otherwise(tmp_path, row):
    table = table_of(tmp_path, "left,top,right,bottom", row, boxes="percent")
    assert boxes(table) == [[0.2 * WIDTH, 0.2 * HEIGHT, 0.7 * WIDTH, 0.7 * HEIGHT]]
    assert "`boxes: percent` converts them" in refusal(tmp_path, "left,top,right,bottom", row)


def test_pixels_that_look_like_percentages_are_taken_when_told(tmp_path):
    row = "20,20,70,70"
    assert "`boxes: pixels` insists" in refusal(tmp_path, "left,top,right,bottom", row)
    assert boxes(table_of(tmp_path, "left,top,right,bottom", row, boxes="pixels")) == [[20, 20, 70, 70]]
    table = table_of(tmp_path, "left,top,right,bottom", row, "300,100,400,200")  # one of them is beyond 100
    assert len(table) == 2


@pytest.mark.parametrize(
    ("first", "second", "told", "said"),
    [
        ("0.2,0.2,0.7,0.7", "100,50,300,250", None, "lines 2 and 3: boxes are of different units"),
        ("0.2,0.2,0.7,0.7", "100,50,300,250", "fraction", "lines 2 and 3: boxes are of different units"),
        ("20,20,70,70", "100,50,300,250", "percent", "line 3: the box 100, 50, 300, 250 is not in percent"),
        ("20%,20%,70%,70%", "100,50,300,250", "percent", "lines 2 and 3: boxes are of different units, with percent"),
        ("100,50,300,250", "20%,20%,70%,70%", None, "lines 3 and 2: boxes are of different units, with percent"),
        ("0.2,0.2,0.7,0.7", "0.2,0.2,0.7,0.7", "percent", "`boxes: fraction` converts them"),
        ("20,20,70,70", "20,20,70,70", "fraction", "`boxes: percent` converts them"),
    ],
)
def test_units_that_are_mixed_or_not_as_told(tmp_path, first, second, told, said):
    options = {} if told is None else {"boxes": told}
    assert said in refusal(tmp_path, "left,top,right,bottom", first, second, **options)


def test_landmarks_in_fractions_go_with_boxes_in_fractions(tmp_path):
    points = ";".join(["0.4;0.5"] * 5)
    lines = ["image,left,top,right,bottom,landmarks5", f"a.jpg,0.2,0.2,0.7,0.7,{points}"]
    table = opened(write_table(tmp_path, *lines), "table", **OWN, boxes="fraction").table()
    np.testing.assert_allclose(table["landmarks5"][0], [0.4 * WIDTH, 0.5 * HEIGHT] * 5)
    whole = ["image,landmarks5", f"a.jpg,{points}"]
    table = opened(write_table(tmp_path, *whole), "table", **OWN, boxes="fraction").table()
    np.testing.assert_allclose(table["landmarks5"][0], [0.4 * WIDTH, 0.5 * HEIGHT] * 5)
    points = ";".join(["180;150"] * 5)
    lines[1] = f"a.jpg,0.2,0.2,0.7,0.7,{points}"
    table = opened(write_table(tmp_path, *lines), "table", **OWN, boxes="fraction").table()
    np.testing.assert_allclose(table["landmarks5"][0], [180, 150] * 5)


def test_an_unknown_unit_is_refused(tmp_path):
    with pytest.raises((ConfigError, ValueError), match="the unit of its boxes, pixels, fraction, percent"):
        opened(tmp_path, "table", **OWN, boxes="inches")


# -- what cannot be used --------------------------------------------------------------------------------------------


def test_an_empty_box_leaves_its_face_out(tmp_path):
    lines = [
        f"image,left,top,right,bottom,{POSE}",
        "a.jpg,100,50,300,250,1,2,3",
        "b.jpg,,,,,1,2,3",
        "c.jpg,1,,9,,1,2,3",
    ]
    labelled = opened(write_table(tmp_path, *lines), "table", **OWN)
    assert reasons(labelled) == {"its box is not given": 2}
    assert labelled.table()["image"].tolist() == ["a.jpg"]
    assert labelled.left_out["first"][0].endswith("labels.csv, line 3: b.jpg")


def test_boxes_that_are_wrong_are_one_line(tmp_path):
    header = "left,top,right,bottom"
    assert "labels.csv, line 2: the box 300, 50, 100, 250 has no area" in refusal(tmp_path, header, "300,50,100,250")
    assert "labels.csv, line 3: the box 0, 0, 0, 0 has no area" in refusal(tmp_path, header, "1,2,301,40", "0,0,0,0")
    assert "labels.csv, line 3: top is 'x', which is no number" in refusal(tmp_path, header, "1,2,301,40", "1,x,3,4")
    assert "labels.csv, line 2: right is infinite" in refusal(tmp_path, header, "1,2,inf,40")


def test_two_rows_for_one_face(tmp_path):
    lines = [f"face_id,image,left,top,right,bottom,{POSE}", "f,a.jpg,1,2,301,280,1,2,3", "f,b.jpg,1,2,301,280,1,2,3"]
    assert "labels.csv, lines 2 and 3 are both called f, but differ in image" in refused(
        write_table(tmp_path, *lines), "table", **OWN
    )
    lines = [f"image,identity,{POSE}", "a.jpg,ann,1,2,3", "", "a.jpg,bob,1,2,3"]
    assert "labels.csv, lines 2 and 4 are about the same face of a.jpg, but differ in identity" in refused(
        write_table(tmp_path, *lines), "table", **OWN
    )


def test_a_detectors_boxes_in_fractions_are_refused(tmp_path):
    layouts.write_w300(tmp_path, layouts.draw(8, 2))
    rows = [f"{layouts.w300_name(n)}.jpg,0.1,0.1,0.9,0.9" for n in range(4)]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,left,top,right,bottom", *rows]) + "\n")
    said = refused(tmp_path, "w300", boxes="boxes.csv")
    assert "boxes.csv: boxes are in fractions of the image (0.1, 0.1, 0.9, 0.9 in line 2); write pixels" in said


def test_squares_around_boxes():
    given = pd.DataFrame([[10.0, 20, 40, 30], [0, 0, 0, 0], [np.nan] * 4], columns=["left", "top", "right", "bottom"])
    found = squares(given, margin=0.1)
    assert found.iloc[0].tolist() == [7, 7, 43, 43]  # 30 wide, 36 with margins, around (25, 25)
    assert found.iloc[2].isna().all()


def test_labels_alone_need_boxes_and_points_in_one_unit(tmp_path):
    def read(*lines):
        write_table(tmp_path, *lines, images=())
        return read_labels(SetParams(kind="table", path=tmp_path, **OWN))

    header = "image,left,top,right,bottom,landmarks5"
    with pytest.raises(UserError, match="boxes are in fraction of the image, but landmarks5 is not"):
        read(header, f"a.jpg,0.2,0.2,0.7,0.7,{';'.join(['180;150'] * 5)}")
    inside = read(header, f"a.jpg,0.2,0.2,0.7,0.7,{';'.join(['.4;.5'] * 5)}", f"b.jpg,,,,,{';'.join(['.4;.5'] * 5)}")
    assert inside.faces["face_id"].tolist() == ["a.jpg"]
    assert "1 left out: its box is not given" in inside.left_out.line()
