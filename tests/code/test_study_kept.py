"""Networks that studies keep: taken for what they are alone."""

import shutil
from pathlib import Path

import pytest
from small_shards import write_small_shards
from whole_sections import variant_params

from fabnet.files import read_json
from studies import kept

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copied(tmp_path):
    """The code that trains, to be changed."""
    for folder in kept.TRAINS:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize("folder", kept.TRAINS)
def test_other_code_has_another_hash(copied, folder):
    assert kept.code(copied) == kept.code()
    kept.code.cache_clear()
    with (copied / folder / "__init__.py").open("a") as file:
        file.write("CHANGED = 1\n")
    assert kept.code(copied) != kept.code()


def test_what_is_said_of_the_code_has_none(copied):
    before = kept.code(copied)
    path = copied / "fabnet/networks/histograms.py"
    text = path.read_text()
    path.write_text("# a comment\n" + text.replace('"""How much each cell counts', '"""Of what weight each cell is'))
    assert path.read_text().count("Of what weight each cell is") == 1
    kept.code.cache_clear()
    assert kept.code(copied) == before


def test_a_network_is_trained_once(tmp_path, monkeypatch):
    write_small_shards(tmp_path, 32)
    values = variant_params(workers=0)
    places = tmp_path / "frames", tmp_path / "splits.parquet", tmp_path / "models/one"
    kept.train_once("one", values, *places)
    note = read_json(tmp_path / "models/one.json")
    assert note["cpu_s"] > 0
    assert (note["resumed"], note["code"]) == (False, kept.code())
    weights = (tmp_path / "models/one/best.pt").stat().st_mtime_ns
    kept.train_once("one", values, *places)
    assert (tmp_path / "models/one/best.pt").stat().st_mtime_ns == weights
    with pytest.raises(SystemExit, match="one: was trained under other params; delete it"):
        kept.train_once("one", values.model_copy(update={"seed": 1}), *places)
    monkeypatch.setattr(kept, "code", lambda: "other")
    with pytest.raises(SystemExit, match="one: was trained by other code; delete it"):
        kept.train_once("one", values, *places)
