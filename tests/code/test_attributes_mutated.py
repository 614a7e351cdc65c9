"""Annotation files with random damage: a legal table or one clear line, never another exception."""

import shutil

import numpy as np
import pytest
import set_layouts as layouts

from fabnet.attributes.sets import open_set
from fabnet.config import SetParams
from fabnet.errors import UserError

TRIES = 12
OWN = {"labels": "labels.csv", "images": "pictures"}


def damaged(data, random):
    """Bytes overwritten, removed, repeated or put in, once to four times."""
    data = bytearray(data)
    for _ in range(random.integers(1, 5)):
        at, length = int(random.integers(0, len(data) + 1)), int(random.integers(1, 40))
        choice = random.integers(0, 5)
        if choice == 0:
            data[at : at + length] = random.integers(0, 256, length, dtype=np.uint8).tobytes()
        elif choice == 1:
            del data[at : at + length]
        elif choice == 2:
            data[at:at] = data[at : at + length]
        elif choice == 3:
            data[at:at] = random.choice(
                [b",", b"\n", b"\t", b'"', b"nan", b"-1", b"1e400", b"\xef\xbb\xbf", b"}", b" "]
            )
        else:
            del data[max(at, 1) :]
    return bytes(data)


def write(kind, folder, faces):
    """Write a layout; return the file to damage and the options to read it with."""
    if kind == "mafl":
        layouts.write_mafl(folder, faces, test=4, people=True)
        return "list_landmarks_align_celeba.txt", {"identities": "identity_CelebA.txt"}
    if kind == "w300":
        layouts.write_w300(folder, faces)
        return f"{layouts.w300_name(2)}.pts", {}
    if kind == "aflw":
        layouts.write_aflw(folder, faces)
        return "data/aflw.sqlite", {"landmarks": True}
    if kind == "aflw mat":
        layouts.write_aflw_mat(folder, faces)
        return "AFLWinfo_release.mat", {"annotation": "mat"}
    if kind == "affectnet":
        layouts.write_affectnet(folder, faces, test=4)
        return "training.csv", {}
    if kind == "emotionet":
        layouts.write_emotionet(folder, faces, test=4)
        return "EmotioNet_FACS_aws_2020_24600.csv", {}
    layouts.write_own(folder, faces, layouts.own_table(faces), "labels.csv")
    return "labels.csv", OWN


def outcome(params):
    """Rows of the table, or the error."""
    try:
        return len(open_set("mine", params).table()), None
    except UserError as error:
        return 0, str(error)


@pytest.mark.parametrize("kind", ["mafl", "w300", "aflw", "aflw mat", "affectnet", "emotionet", "table"])
def test_damage_is_told_in_one_line(tmp_path, kind):
    whole = tmp_path / "set"
    whole.mkdir()
    file, options = write(kind, whole, layouts.draw(6, 2))
    data = (whole / file).read_bytes()
    params = SetParams(kind=kind.partition(" ")[0], path=whole, **options)
    count = len(open_set("mine", params).table())
    refused = 0
    random = np.random.default_rng(len(kind))
    for _ in range(TRIES):
        (whole / file).write_bytes(damaged(data, random))
        rows, told = outcome(params)
        assert (0 < rows <= count + 1) if told is None else ("\n" not in told and str(tmp_path) in told)
        refused += told is not None
    assert refused > TRIES // 5
    shutil.rmtree(whole)
