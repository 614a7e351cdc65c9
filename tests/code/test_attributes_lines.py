"""Errors of text files name the line in the file, whatever lies before it."""

import pytest
import set_layouts as layouts
from opened_sets import opened, refused
from own_tables import POSE, write_table

from fabnet.attributes.label_files import read_text
from fabnet.errors import UserError

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
