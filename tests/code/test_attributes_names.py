"""Names of people and files in both forms of Unicode."""

import unicodedata

import numpy as np
import pytest
from opened_sets import POSE, crops_of, opened, reasons, refused, write_table

from fabnet.attributes.own_table import read_labels
from fabnet.config import SetParams
from fabnet.errors import UserError
from fabnet.probing.outside import open_outside
from fabnet.video.sources.identities import Identities

OWN = {"labels": "labels.csv"}
ZOE = ("Zoë", unicodedata.normalize("NFD", "Zoë"))
HAN = ("한국", unicodedata.normalize("NFD", "한국"))


@pytest.mark.parametrize("name", [ZOE, HAN, ("\u00e9", "e\u0301")])
def test_one_person_in_two_forms_is_one(tmp_path, name):
    """Fault 16."""
    assert len(set(name)) == 2
    rows = [f"a{n}.jpg,{name[n % 2]},{('train', 'test')[n % 2]},{n},0,1" for n in range(6)]
    write_table(tmp_path, f"image,identity,split,{POSE}", *rows, images=())
    for read in (lambda: opened(tmp_path, "table", **OWN).table(), lambda: read_labels(alone(tmp_path))):
        with pytest.raises(UserError) as error:
            read()
        person = unicodedata.normalize("NFC", name[0])
        assert (
            str(error.value)
            == f"{tmp_path}/labels.csv, lines 2 and 3: {person} is in two splits; a person has to be in one"
        )


def alone(folder):
    return SetParams(kind="table", path=folder, **OWN)


@pytest.mark.parametrize("there", [0, 1])
@pytest.mark.parametrize("here", [0, 1])
def test_a_table_in_one_form_finds_files_in_the_other(tmp_path, here, there):
    name = f"{ZOE[there]}/{HAN[there]}.jpg"
    write_table(tmp_path, f"image,{POSE}", f"{ZOE[here]}/{HAN[here]}.jpg,1,2,3", "b.jpg,3,2,1", images=(name, "b.jpg"))
    labelled = opened(tmp_path, "table", **OWN)
    assert labelled.table()["image"].tolist() == [f"{ZOE[0]}/{HAN[0]}.jpg", "b.jpg"]
    assert reasons(labelled) == {}
    assert (crops_of(labelled, 8)[f"{ZOE[0]}/{HAN[0]}.jpg"] == 90).all()
    (tmp_path / "not.txt").write_text(f"{ZOE[1 - here]}/{HAN[1 - here]}.jpg\n")
    assert reasons(opened(tmp_path, "table", **OWN, exclude="not.txt")) == {"listed in `exclude`": 1}


def test_two_folders_of_one_name_are_refused(tmp_path):
    images = (f"{ZOE[0]}/a.jpg", f"{ZOE[1]}/a.jpg")
    write_table(tmp_path, f"image,{POSE}", f"{ZOE[0]}/a.jpg,1,2,3", images=images)
    said = refused(tmp_path, "table", **OWN)
    assert "'Zoe\\u0308' and 'Zo\\xeb' are one name in two forms of Unicode (" in said
    assert str(tmp_path) in said


def test_two_folders_of_videos_of_one_person_are_refused(tmp_path):
    people = Identities(tmp_path)
    assert people.of(ZOE[1]) == ZOE[0]
    assert people.of(ZOE[1]) == ZOE[0]
    with pytest.raises(UserError, match=r"'Zoe\\u0308' and 'Zo\\xeb' are one name in two forms of Unicode"):
        people.of(ZOE[0])


def test_ids_of_embeddings_compare_in_one_form(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    (tmp_path / "x.txt").write_text(f"{ZOE[1]}\nann\n", encoding="utf-8")
    assert open_outside(tmp_path / "x.npy", tmp_path).ids == [ZOE[0], "ann"]
    (tmp_path / "x.txt").write_text(f"{ZOE[1]}\n{ZOE[0]}\n", encoding="utf-8")
    with pytest.raises(UserError, match="rows 1 and 2: Zoë comes twice"):
        open_outside(tmp_path / "x.npy", tmp_path)
