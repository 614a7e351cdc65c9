"""What `fabnet check` recognises and says, tables longer than memory should hold, and contracts that change."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fabnet import contract, tables
from fabnet.errors import TableError, UserError
from fabnet.files import write_json
from fabnet.frames.shards import INDEX_SCHEMA
from fabnet.quality import streaming
from fabnet.quality.check import check, contract_of
from fabnet.quality.schema import NOTES, contracts, export, require_announced, unannounced
from fabnet.quality.streaming import check_file
from tests.data import good_data

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(base, tmp_path):
    return good_data.copy(base, tmp_path / "copy")


# -- fabnet check ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("frames", 7),
        ("frames/index.parquet", 1),
        ("frames/crop.json", 1),
        ("splits.parquet", 1),
        (".", 4),
        ("embeddings", 2),
        ("metrics.json", 1),
    ],
)
def test_good_data_are_recognised_and_legal(base, name, lines):
    report = check(base.root / name)
    assert report.legal, report.text
    assert len(report.lines) == lines
    assert all(line.startswith("ok ") for line in report.lines)


def test_tables_of_other_tools_are_known_by_their_columns(base, tmp_path):
    for name, form in (
        ("splits", tables.Splits),
        ("predictions", tables.Predictions),
        ("ledger", tables.Ledger),
        ("shards", tables.Shards),
    ):
        path = tmp_path / "renamed.parquet"
        bare = pq.read_table(base.path(name)).replace_schema_metadata(None)
        pq.write_table(bare, path)
        assert contract_of(path) is form
        assert check(path).legal
        if name != "splits":  # which has but two
            pq.write_table(bare.drop_columns(bare.column_names[-1]), path)
            assert contract_of(path) is form
            assert not check(path).legal
    pq.write_table(pa.table({"x": [1], "y": [2]}), path)
    with pytest.raises(TableError, match="its columns are of no contract: x, y"):
        check(path)


def test_report_counts_by_column_and_rule_with_the_first_twenty_cases(place):
    place.edit("index", lambda frame: frame.assign(size=0, brightness=300.0))
    report = check(place.root / "frames")
    assert not report.legal
    lines = report.text.splitlines()
    at = next(number for number, line in enumerate(lines) if "size: breaks greater_than(0) 96 time(s)" in line)
    cases = [line for line in lines[at + 1 :] if line.startswith("           ")]
    assert lines[at + 1].split() == ["row", "0:", "0"]
    assert len(cases) == 40
    assert "brightness: breaks less_than_or_equal_to(255) 96 time(s)" in report.text
    assert "not looked at before the tables are legal" in report.text


def test_tables_that_disagree_are_reported(place):
    place.edit("splits", lambda frame: frame.iloc[1:])
    assert "has no split" in check(place.root / "frames").text
    place.path("splits").unlink()
    report = check(place.root / "frames")
    assert report.legal
    assert "skipped" in report.text


def test_embeddings_that_are_not_numbers(place):
    path = place.root / "embeddings/embeddings.npy"
    vectors = np.load(path)
    vectors[[3, 8], 1] = np.nan, np.inf
    np.save(path, vectors)
    face = pd.read_parquet(place.root / "embeddings/ids.parquet")["face_id"][3]
    says = f"2 of {len(vectors)} rows hold a value that is not finite (first: row 3, face {face})"
    assert says in check(place.root / "embeddings").text
    np.save(path, np.zeros_like(vectors, dtype=np.float64))
    assert "float64" in check(place.root / "embeddings").text


def test_what_has_no_contract_is_said_so(tmp_path):
    for path in (tmp_path, tmp_path / "params.yaml"):
        if path.suffix:
            path.write_text("a: 1\n")
        with pytest.raises(UserError, match="contract; known are a directory of frames"):
            check(path)
    with pytest.raises(UserError, match="no such file or directory"):
        check(tmp_path / "absent")
    (tmp_path / "clips.csv").write_text("clip,identity\na.mp4,ann\na.mp4,ann\n")
    assert "clip: breaks field_uniqueness 2 time(s)" in check(tmp_path / "clips.csv").text


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "must be a mapping"),
        ({"s": {"v": {"yaw_mae_deg": 5}}}, r"s\.v\.yaw_mae_deg: must be a mapping"),
        ({"s": {"v": {"yaw_mae_deg": {"value": 5}}}}, "must hold value, low, high, n, not value"),
        ({"s": {"v": {"m": {"value": "5", "low": 1, "high": 9, "n": 3}}}}, "value: is '5'"),
        ({"s": {"v": {"m": {"value": 5, "low": 1, "high": 9, "n": 3.5}}}}, "n: is 3.5"),
    ],
)
def test_metrics_of_another_form(value, says):
    with pytest.raises(TableError, match=says):
        tables.metrics_frame(value, "metrics.json")


def test_metrics_of_the_repository_are_legal():
    if not (ROOT / "metrics.json").is_file():
        pytest.skip("no metrics.json")
    assert check(ROOT / "metrics.json").legal


def test_json_that_is_none(tmp_path):
    (tmp_path / "metrics.json").write_text("{")
    assert "is no JSON" in check(tmp_path / "metrics.json").text


# -- long tables ----------------------------------------------------------------------------------------------------


def long_index(tracks: int = 10, length: int = 10) -> pd.DataFrame:
    track = np.repeat(np.arange(tracks), length)
    count = len(track)
    frame = pd.DataFrame({"track_id": pd.Series(track).map("t{:04d}".format)})
    frame["identity"] = pd.Series(track // 2).map("id{:03d}".format)
    frame["video"], frame["clip"] = "v", frame["track_id"] + ".mp4"
    frame["frame_no"] = np.tile(np.arange(length), tracks)
    frame["time_s"] = frame["frame_no"].astype(float)
    frame["shard"], frame["offset"], frame["size"] = "tracks-00000.tar", 512 * np.arange(count), 100
    for name, value in {"left": 0, "top": 0, "right": 9, "bottom": 9, "sharpness": 5, "brightness": 99}.items():
        frame[name] = float(value)
    unknown = [name for name in INDEX_SCHEMA.names if name not in frame]
    return frame.assign(**dict.fromkeys(unknown, np.nan))[INDEX_SCHEMA.names]


@pytest.mark.parametrize("rows", [7, 50, 10_000])
def test_findings_of_pieces_are_those_of_the_whole(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(streaming, "_ROWS", rows)
    frame = long_index()
    bad = {"size": [48, 49, 99], "brightness": [0, 98], "right": [6, 7, 8], "frame_no": [20, 21], "identity": [50]}
    for column, at in bad.items():
        frame.loc[at, column] = {"size": 0, "brightness": 256.0, "right": -1.0, "frame_no": 0, "identity": "?"}[column]
    path = tmp_path / "index.parquet"
    frame.to_parquet(path, index=False)
    checked = check_file(path, tables.Index)
    assert checked.rows == len(frame)
    found = {(one.column, one.rule): one for one in checked.findings}
    assert found["size", "greater_than(0)"].count == 3
    assert [row for row, _ in found["size", "greater_than(0)"].cases] == [48, 49, 99]
    assert [row for row, _ in found["brightness", "less_than_or_equal_to(255)"].cases] == [0, 98]
    assert [row for row, _ in found["", "box_has_area"].cases] == [6, 7, 8]
    assert found["", "frames_of_a_track_contiguous_and_increasing"].cases == ((21, "'t0002'"),)
    assert found["", "one_identity_per_track"].count >= 1
    assert len(found) == 5


def test_cases_are_the_first_twenty_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "_ROWS", 30)
    frame = long_index()
    frame["size"] = 0
    frame.to_parquet(tmp_path / "index.parquet", index=False)
    (finding,) = check_file(tmp_path / "index.parquet", tables.Index).findings
    assert finding.count == 100
    assert [row for row, _ in finding.cases] == list(range(20))


def test_rules_about_a_table_are_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "_ROWS", 40)
    frame = long_index().astype({"size": float}).drop(columns="top").assign(extra=1)
    frame.to_parquet(tmp_path / "index.parquet", index=False)
    findings = check_file(tmp_path / "index.parquet", tables.Index).findings
    assert sorted(one.line() for one in findings) == [
        "column extra is unknown",
        "column top is missing",
        "size: breaks dtype('int64') 1 time(s) ('float64')",
    ]


def test_order_of_tracks_is_a_rule_across_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "_ROWS", 10)
    frame = long_index()
    swapped = pd.concat([frame.iloc[10:20], frame.iloc[:10], frame.iloc[20:]], ignore_index=True)
    swapped.to_parquet(tmp_path / "index.parquet", index=False)
    (finding,) = check_file(tmp_path / "index.parquet", tables.Index).findings
    assert (finding.rule, finding.cases) == ("tracks_in_order", ((10, "'t0000'"),))


def test_rules_of_some_columns_alone(tmp_path):
    frame = long_index().assign(size=0, track_id="a b")
    frame.to_parquet(tmp_path / "index.parquet", index=False)
    (finding,) = check_file(tmp_path / "index.parquet", tables.Index, ["size", "brightness"]).findings
    assert finding.column == "size"


def test_damage_in_the_midst_of_a_table_is_one_line(tmp_path):
    path = tmp_path / "index.parquet"
    long_index(40, 25).to_parquet(path, index=False, row_group_size=100)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(TableError, match=r"index\.parquet: cannot be read as a table") as caught:
        check_file(path, tables.Index)
    assert "\n" not in str(caught.value)


# -- versions -------------------------------------------------------------------------------------------------------


def test_a_file_remembers_its_contract_and_a_later_one_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"identity": ["a"], "split": ["train"]})
    tables.write(frame, path, tables.Splits)
    assert pq.read_schema(path).metadata[contract.WRITTEN_UNDER] == b"Splits 1"
    with pytest.raises(TableError, match="is a table of Splits, not of Rejects"):
        tables.read(path, tables.Rejects)
    for later in (b"Splits 2", b"Splits x"):
        pq.write_table(pa.table({"identity": ["a"]}).replace_schema_metadata({contract.WRITTEN_UNDER: later}), path)
        with pytest.raises(TableError, match="this fabnet knows version 1; update fabnet"):
            tables.read(path, tables.Splits)


def test_committed_contracts_are_those_of_the_code():
    committed = json.loads((ROOT / "docs/schemas.json").read_text())
    notes = (ROOT / NOTES).read_text()
    assert unannounced(committed, export(), notes) == []
    assert committed == export(), "run `fabnet schema --json > docs/schemas.json`"


def test_every_contract_is_exported():
    assert set(contracts().values()) == {
        form for form in tables.Table.__subclasses__() if form.__module__.startswith("fabnet.tables.")
    }
    assert json.loads(json.dumps(export())) == export()


def changed(**changes) -> dict:
    new = copy.deepcopy(export())
    for path, value in changes.items():
        *keys, last = path.split("__")
        at = new["Index"]
        for key in keys:
            at = at[key]
        at[last] = value
    return new


NEXT = export()["Index"]["version"] + 1
OTHERS = "\n\n".join(f"### {name} {form['version']}" for name, form in export().items()) + "\n\n"
NOTE = f"{OTHERS}### Index {NEXT}\n\n### Gone removed\n"


@pytest.mark.parametrize(
    ("new", "notes", "says"),
    [
        (changed(), NOTE, None),
        (changed(description="better", columns__size__description="better"), NOTE, None),
        (changed(columns__size__type="int32"), NOTE, "Index: has changed; raise"),
        (changed(columns__size__rules={}), NOTE, "Index: has changed; raise"),
        (changed(rules_about_rows=[]), NOTE, "Index: has changed; raise"),
        (changed(columns__size__type="int32", version=NEXT), NOTE, None),
        (
            changed(columns__size__type="int32", version=NEXT),
            OTHERS,
            f"Index: say in .* under `### Index {NEXT}`",
        ),
        (changed(version=0), NOTE, f"lower than {NEXT - 1}"),
    ],
)
def test_changes_are_announced(new, notes, says):
    problems = unannounced(export(), new, notes)
    assert bool(problems) == (says is not None)
    assert says is None or re.search(says, problems[0])


def test_a_contract_that_goes_is_announced():
    old = {**export(), "Gone": export()["Index"]}
    assert unannounced(old, export(), NOTE) == []
    assert "Gone: is gone" in unannounced(old, export(), OTHERS)[0]
    assert unannounced({}, export(), NOTE) == []


def test_contracts_of_another_commit(tmp_path):
    old, notes = tmp_path / "schemas.json", tmp_path / "notes.md"
    notes.write_text(NOTE)
    write_json(old, export())
    require_announced(old, notes)
    write_json(old, changed(columns__size__type="int32"))
    with pytest.raises(UserError, match="Index: has changed"):
        require_announced(old, notes)
    old.write_text("{")
    with pytest.raises(UserError, match="holds no contracts"):
        require_announced(old, notes)
