"""Folders of labelled clips, and the table that anybody brings: faces, labels, splits and crops."""

from pathlib import Path

import numpy as np
import pytest
import set_layouts as layouts
from opened_sets import boxes, crops_of, opened, points
from set_layouts import SIZE

from fabnet import tables
from fabnet.attributes.sets import TASKS
from fabnet.tables import ANGLE_COLUMNS, UNIT_COLUMNS

SHARED = Path(__file__).parents[2] / ".." / "shared" / "formats"


@pytest.fixture(scope="module")
def faces():
    return layouts.draw()


# -- clips ----------------------------------------------------------------------------------------------------------


def test_clips_named_as_in_mead(tmp_path):
    faces = layouts.draw(10, 1)
    names = layouts.write_clips(tmp_path, faces)
    (tmp_path / "notes_about_happy.mp4").write_bytes(b"no clip")
    labelled = opened(tmp_path, "celebv")
    table = labelled.table().set_index("face_id")
    table = table.loc[[f"{name}#0" for name in names]]
    assert table["identity"].tolist() == faces.people
    assert table["expression"].tolist() == faces.expressions
    assert table.groupby("identity")["split"].nunique().max() == 1
    out = labelled.left_out
    assert out["reason"].tolist() == ["its name does not tell one subject and one emotion"]
    crops = crops_of(labelled, SIZE)
    for number in (0, 1, 7):  # the middle of four frames is the third
        expected = np.clip(faces.images[number].astype(int) + 40, 0, 255)
        assert np.abs(crops[f"{names[number]}#0"].astype(int) - expected).mean() < 8


def test_frames_lie_evenly_in_a_clip(tmp_path):
    few = layouts.draw(2, 1)
    names = layouts.write_clips(tmp_path, few, frames=4)
    labelled = opened(tmp_path, "celebv", frames=4, side=0.5)
    table = labelled.table()
    assert len(table) == 8
    assert (table["right"] - table["left"] == SIZE // 2).all()
    crops = crops_of(labelled, SIZE // 2)
    middle = few.images[0][SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].astype(int)
    for step in range(4):
        expected = np.clip(middle + 20 * step, 0, 255)
        assert np.abs(crops[f"{names[0]}#{step}"].astype(int) - expected).mean() < 8


def test_clips_with_a_table(tmp_path):
    few = layouts.draw(2, 1)
    names = layouts.write_clips(tmp_path / "sub", few)
    rows = [f"sub/{names[0]},ann,Happy,train\n", f"sub/{names[1]},bob,surprised,test\n"]
    (tmp_path / "labels.csv").write_text("clip,identity,expression,split\n" + "".join(rows))
    table = opened(tmp_path, "celebv", labels="labels.csv").table()
    assert table["expression"].tolist() == ["happy", "surprise"]
    assert table["identity"].tolist() == ["ann", "bob"]
    assert table["split"].isin(["train", "validation"]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("M030_front_angry_level3_001.mp4", ("M030", "anger")),
        ("M003_level_1_disgusted_015.mp4", ("M003", "disgust")),
        ("W011/video/front/surprised/level_2/001.mp4", ("W011", "surprise")),
        ("M030/M030_left_30_neutral_level_1_002.mp4", ("M030", "neutral")),
        ("front_angry_level3_001.mp4", None),
        ("M030_front_level3_001.mp4", None),
        ("M030_happy/M030_sad_001.mp4", None),
        ("M030_M031_happy_001.mp4", None),
    ],
)
def test_names_of_clips(name, told):
    from fabnet.attributes.celebv import labels_in

    assert labels_in(name) == told


# -- anybody's own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_own_table_with_everything(tmp_path, faces, name):
    own = layouts.own_table(faces).assign(mouth_open=np.linspace(0, 1.4, len(faces)))
    layouts.write_own(tmp_path, faces, own, name)
    labelled = opened(tmp_path, "table", labels=name, images="pictures")
    table = labelled.table()
    assert [task.name for task in labelled.tasks] == list(TASKS)
    for column in ("image", "identity", "split", "expression"):
        assert table[column].tolist() == own[column].tolist()
    numbers = [*ANGLE_COLUMNS, *UNIT_COLUMNS, "mouth_open", "left", "top", "right", "bottom"]
    np.testing.assert_allclose(table[numbers], own[numbers])
    np.testing.assert_allclose(points(table, "landmarks68"), faces.points68)
    np.testing.assert_allclose(points(table, "landmarks5"), faces.points5)
    crops = crops_of(labelled, SIZE - 4)
    np.testing.assert_array_equal(crops["face007.png"], faces.images[7][1 : SIZE - 3, 2 : SIZE - 2])


def test_own_table_under_other_names_and_units(tmp_path, faces):
    own = layouts.own_table(faces)[["image", "expression", *ANGLE_COLUMNS]]
    own[list(ANGLE_COLUMNS)] = np.deg2rad(own[list(ANGLE_COLUMNS)].to_numpy()) * (1, 1, -1)
    own["expression"] = own["expression"].map(tables.EXPRESSIONS.index)
    own[["bx", "by", "bw", "bh"]] = [1, 2, SIZE - 3, SIZE - 4]
    own = own.rename(columns={"image": "Datei", "yaw_deg": "Drehung"}).assign(note="x")
    layouts.write_own(tmp_path, faces, own)
    columns = {"image": "Datei", "yaw_deg": "Drehung", "x": "bx", "y": "by", "width": "bw", "height": "bh"}
    options = {"labels": "labels.csv", "images": "pictures", "columns": columns, "radians": True, "negate": ["yaw_deg"]}
    table = opened(tmp_path, "table", **options).table()
    np.testing.assert_allclose(table[list(ANGLE_COLUMNS)], faces.angles, atol=1e-9)
    assert table["expression"].tolist() == faces.expressions
    assert boxes(table) == [[1, 2, SIZE - 2, SIZE - 2]]
    assert set(table["split"]) == set(tables.SPLITS)


def test_own_table_of_several_faces_on_an_image(tmp_path, faces):
    own = layouts.own_table(faces)[["image", "left", "top", "right", "bottom", "expression"]]
    own.loc[1, "image"] = own.loc[0, "image"]
    own.loc[1, "left"] = 9
    layouts.write_own(tmp_path, faces, own)
    table = opened(tmp_path, "table", labels="labels.csv", images="pictures").table()
    assert len(table) == 80
    assert table["face_id"].iloc[:2].tolist() == ["face000.png#2", "face000.png#3"]
    assert table["split"].iloc[0] == table["split"].iloc[1]


def test_validation_is_carved_from_train_by_person(tmp_path, faces):
    own = layouts.own_table(faces)[["image", "identity", "split", "expression"]]
    own["split"] = own["split"].replace({"validation": "train"})
    layouts.write_own(tmp_path, faces, own)
    tables_by_seed = [
        opened(tmp_path, "table", labels="labels.csv", images="pictures", seed=s).table() for s in (0, 0, 3)
    ]
    for table in tables_by_seed:
        assert ((table["split"] == "test") == (own["split"] == "test")).all()
        assert table.groupby("identity")["split"].nunique().max() == 1
        assert (table["split"] == "validation").any()
    assert tables_by_seed[0].equals(tables_by_seed[1])
    assert not tables_by_seed[0]["split"].equals(tables_by_seed[2]["split"])
