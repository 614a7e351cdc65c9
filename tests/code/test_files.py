import json
import stat
from pathlib import Path

import pytest

from fabnet.errors import UserError
from fabnet.files import atomic_directory, atomic_file, hash_file, hash_json, locked, read_json, write_json


def write_half_and_raise(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


def test_atomic_file_appears_whole(tmp_path: Path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert (temporary.parent, temporary.suffix) == (path.parent, ".txt")
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_file_keeps_the_old_one_on_failure(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_file(path) as temporary:
        write_half_and_raise(temporary, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_directory_replaces_all_of_the_old_one(tmp_path: Path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "stale").write_text("old")
    with atomic_directory(path) as temporary:
        (temporary / "fresh").write_text("new")
        assert (path / "stale").exists()
    assert [child.name for child in path.iterdir()] == ["fresh"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_directory_keeps_the_old_one_on_failure(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "out"
    path.mkdir()
    (path / "kept").write_text("old")
    with pytest.raises(error), atomic_directory(path) as temporary:
        write_half_and_raise(temporary / "half", error)
    assert [child.name for child in path.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_round_trip_and_equal_values_are_equal_bytes(tmp_path: Path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_json(a, {"x": 1, "y": [1.5, None]})
    write_json(b, {"y": [1.5, None], "x": 1})
    assert a.read_bytes() == b.read_bytes()
    assert read_json(a) == {"x": 1, "y": [1.5, None]}


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert json.loads(path.read_text()) == {"x": 1}


def test_hashes(tmp_path: Path):
    # Of the SHA-256 test vector "abc", and of {"a":1}, computed by sha256sum.
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_json({"a": 1}) == "015abd7f5cc57a2d"
    assert hash_json({"a": 1, "b": [2]}) == hash_json({"b": [2], "a": 1}) != hash_json({"a": 1, "b": [3]})


def test_a_lock_keeps_others_off_until_it_is_let_go(tmp_path: Path):
    path = tmp_path / "work" / "lock"
    with locked(path, "busy"), pytest.raises(UserError, match="busy"), locked(path, "busy"):
        pass
    with locked(path, "busy"):
        pass
