"""The sheet of closest pairs shows what it is given, in its place."""

import numpy as np

from fabnet.figures.pictures import save
from fabnet.figures.sheets import HEADS, closest_pairs


def sheet(seed: int = 0):
    rng = np.random.default_rng(seed)
    images = {
        "pixels": rng.integers(0, 256, (3, 3, 8, 8, 3), dtype=np.uint8),
        "embedding (x)": rng.integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8),
    }
    captions = {name: [(f"{name} {row}", "near", "own") for row in range(len(of))] for name, of in images.items()}
    return images, closest_pairs(images, captions)


def test_every_picture_and_caption_has_its_place():
    images, figure = sheet()
    assert [block.get_suptitle() for block in figure.subfigs] == ["closest by pixels", "closest by embedding (x)"]
    for block, (name, faces) in zip(figure.subfigs, images.items(), strict=True):
        assert [axis.get_title() for axis in block.axes[:3]] == list(HEADS)
        for row, of_row in enumerate(faces):
            for column, face in enumerate(of_row):
                axis = block.axes[3 * row + column]
                np.testing.assert_array_equal(axis.images[0].get_array(), face)
            assert block.axes[3 * row].texts[0].get_text() == f"{name} {row}"
        assert not [axis for axis in block.axes[3 * len(faces) :] if axis.images]


def test_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        save(sheet()[1], tmp_path / f"{name}.png", dpi=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
