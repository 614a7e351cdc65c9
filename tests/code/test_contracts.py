"""Any legal table comes back from disk as it was; a value or column that a rule forbids is refused, and named."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fabnet import tables
from fabnet.errors import TableError
from fabnet.files import read_json, write_json
from fabnet.probing.embeddings import read_embeddings, write_embeddings
from fabnet.probing.predictions import open_writer, read_predictions
from fabnet.quality.schema import contracts
from fabnet.quality.streaming import check_file
from fabnet.training.history import CURRICULUM, HISTORY, CurriculumPoint, Point, write_points
from fabnet.video.unit import LEDGER_SCHEMA, REJECTS_SCHEMA, write_table

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
CONTRACTS = list(contracts().values())
every_contract = pytest.mark.parametrize("form", CONTRACTS, ids=lambda form: form.__name__)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
POINTS = {"landmarks68": 136, "landmarks5": 10}


def bounds(column: pa.Column) -> dict[str, float]:
    """The range rules of a column: {name of the rule: bound}."""
    checks = [check for check in column.checks if check.name.startswith(("greater_than", "less_than"))]
    return {check.name.partition("(")[0]: next(iter(check.statistics.values())) for check in checks}


def values(column: pa.Column) -> st.SearchStrategy[Any]:
    """Legal values of a column, one by one."""
    rules = {check.name.partition("(")[0]: check.statistics for check in column.checks}
    if "isin" in rules:
        return st.sampled_from(sorted(rules["isin"]["allowed_values"]))
    if "str_matches" in rules:
        return st.from_regex(rules["str_matches"]["pattern"], fullmatch=True)
    if str(column.dtype).startswith("str"):
        return TEXT
    if str(column.dtype) == "object":
        count = POINTS.get(str(column.name), 3)
        return st.lists(st.floats(-1e3, 1e3, width=32), min_size=count, max_size=count).map(np.array)
    limit = bounds(column)
    low = limit.get("greater_than_or_equal_to", limit.get("greater_than", -1e6))
    high = min(limit.get("less_than_or_equal_to", limit.get("less_than", 1e6)), 1e6)
    if "int" in str(column.dtype):
        return st.integers(int(low) + ("greater_than" in limit), int(high) - ("less_than" in limit and high < 1e6))
    return st.floats(low, high, exclude_min="greater_than" in limit, exclude_max="less_than" in limit and high < 1e6)


def in_order(form: type[tables.Table], frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with what its rows and columns owe each other."""
    number = np.arange(len(frame))

    def names(prefix: str) -> pd.Series:
        return pd.Series([f"{prefix}{row:03d}" for row in number], dtype=str)

    for name, column in form.to_schema().columns.items():
        if column.unique and name in frame:
            frame[name] = number + 1 if "int" in str(column.dtype) else frame[name] + names("")
    if "right" in frame:
        frame["right"] = frame["left"] + 1 + frame["right"].abs()
        frame["bottom"] = frame["top"] + 1 + frame["bottom"].abs()
    if form is tables.Index:
        frame["track_id"] = pd.Series([f"t{row // 3:03d}" for row in number], dtype=str)
        frame["frame_no"] = number
        frame["identity"] = frame.groupby("track_id")["identity"].transform("first")
    if form is tables.Labels:
        frame["split"] = frame.groupby("identity")["split"].transform("first")
    if form is tables.Ledger:
        frame["rejected_clips"] = np.minimum(frame["rejected_clips"], frame["clips"])
        frame["unit"] = frame["clips"].cumsum().shift(fill_value=0)
    if form is tables.Shards:
        frame["shard"] = pd.Series([f"tracks-{row:05d}.tar" for row in number], dtype=str)
    if form is tables.Predictions:
        frame["face_id"] = names("f")
    if form is tables.History:
        frame["step"] = number + 1
    if form is tables.Metrics:
        frame["variant"] = names("v")
    if form is tables.RetrievedFaces:
        frame["query"], frame["neighbour"] = names("q"), names("n")
    if form is tables.Neighbours:
        frame["query"] = names("q")
    if form in (tables.LowLabel, tables.RetrievalScores):
        frame["encoder"] = names("e")
    if form in (tables.Metrics, tables.LowLabel, tables.RetrievalScores):
        frame[["low", "value", "high"]] = np.sort(frame[["low", "value", "high"]].to_numpy() % 100, axis=1)
    return frame


@st.composite
def legal(draw: st.DrawFn, form: type[tables.Table], least: int = 0) -> pd.DataFrame:
    columns = form.to_schema().columns
    optional = [name for name, column in columns.items() if not column.required]
    left_out = set(draw(st.lists(st.sampled_from(optional), unique=True))) if optional else set()
    count = draw(st.integers(least, 8))
    data = {}
    for name, column in columns.items():
        if name not in left_out:
            drawn = draw(st.lists(values(column), min_size=count, max_size=count))
            data[name] = pd.Series(drawn, dtype=str(column.dtype).removesuffix("[pyarrow]").replace("string", "str"))
    return in_order(form, pd.DataFrame(data))


@every_contract
@QUICK
@given(data=st.data())
def test_legal_tables_round_trip(form: type[tables.Table], data: st.DataObject):
    frame = data.draw(legal(form))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        tables.write(frame, path, form)
        pd.testing.assert_frame_equal(tables.read(path, form), frame, check_column_type=False)
        checked = check_file(path, form)
        assert (checked.findings, checked.rows) == ((), len(frame))


def _history_round_trip(frame: pd.DataFrame, folder: Path, form: type[tables.Table]) -> pd.DataFrame:
    kind, schema = (Point, HISTORY) if form is tables.History else (CurriculumPoint, CURRICULUM)
    write_points([kind(**row) for row in frame.to_dict("records")], folder / "t.parquet", schema)
    return tables.read(folder / "t.parquet", form)


def _part_round_trip(frame: pd.DataFrame, folder: Path, form: type[tables.Table]) -> pd.DataFrame:
    schema = REJECTS_SCHEMA if form is tables.Rejects else LEDGER_SCHEMA
    write_table(frame, folder / "t.parquet", form, schema)
    return tables.read(folder / "t.parquet", form)


def _predictions_round_trip(frame: pd.DataFrame, folder: Path, form: type[tables.Table]) -> pd.DataFrame:
    with open_writer(folder / "t.parquet") as writer:
        writer.add(frame)
    read = read_predictions(folder / "t.parquet")
    return read.assign(
        **{name: [values.astype(np.float64) for values in read[name]] for name in ("target", "prediction")}
    )


def _embeddings_round_trip(frame: pd.DataFrame, folder: Path, form: type[tables.Table]) -> pd.DataFrame:
    ids = frame["face_id"].tolist()
    vectors = np.arange(2.0 * len(ids)).reshape(-1, 2)
    write_embeddings(folder / "e", ids, [vectors], 2, len(ids), {})
    read, array, _ = read_embeddings(folder / "e")
    np.testing.assert_array_equal(array, vectors)
    return pd.DataFrame({"face_id": pd.Series(read, dtype="str")})


def _metrics_round_trip(frame: pd.DataFrame, folder: Path, form: type[tables.Table]) -> pd.DataFrame:
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    for row in frame.itertuples():
        score = {"value": row.value, "low": row.low, "high": row.high, "n": row.n}
        nested.setdefault(row.set, {}).setdefault(row.variant, {})[row.metric] = score
    write_json(folder / "metrics.json", nested)
    read = tables.check(tables.metrics_frame(read_json(folder / "metrics.json"), "metrics.json"), form, "metrics.json")
    order = ["set", "variant", "metric"]
    back = frame[order].merge(read, on=order, how="left", validate="one_to_one")
    assert len(read) == len(frame)
    return back.astype({"n": "int64"})


def _csv_round_trip(frame: pd.DataFrame, folder: Path, form: type[tables.Table]) -> pd.DataFrame:
    frame.to_csv(folder / "t.csv", index=False)
    return tables.read(folder / "t.csv", form)


# Tables that a stage reads or writes by a function of its own; `tables.read` and `tables.write` take all.
OTHER_WAYS = {
    tables.History: _history_round_trip,
    tables.Curriculum: _history_round_trip,
    tables.Rejects: _part_round_trip,
    tables.Ledger: _part_round_trip,
    tables.Predictions: _predictions_round_trip,
    tables.EmbeddingIds: _embeddings_round_trip,
    tables.Metrics: _metrics_round_trip,
    tables.Boxes: _csv_round_trip,
}


@pytest.mark.parametrize("form", OTHER_WAYS, ids=lambda form: form.__name__)
@QUICK
@given(data=st.data())
def test_legal_tables_come_back_by_readers_and_writers_of_their_own(form: type[tables.Table], data: st.DataObject):
    frame = data.draw(legal(form, least=1))
    if form is tables.Boxes:  # a CSV file keeps no difference between text that looks like numbers and numbers
        frame["clip"] = [f"clip{row}.mp4" for row in range(len(frame))]
    with tempfile.TemporaryDirectory() as folder:
        back = OTHER_WAYS[form](frame, Path(folder), form)
    pd.testing.assert_frame_equal(back, frame, check_column_type=False, check_dtype=form is not tables.Boxes)


@pytest.mark.parametrize("form", [tables.Rejects, tables.Ledger, tables.Predictions], ids=lambda form: form.__name__)
@QUICK
@given(data=st.data())
def test_writers_of_their_own_refuse_what_is_illegal(form: type[tables.Table], data: st.DataObject):
    """The file does not appear. Readers are `tables.read` or check by `tables.check`, as tests below do."""
    frame = data.draw(legal(form, least=1))
    name = data.draw(st.sampled_from(list(form.to_schema().columns)))
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(TableError, match=f"column {name} is missing"):
            OTHER_WAYS[form](frame.drop(columns=name), Path(folder), form)
        assert list(Path(folder).iterdir()) == []


@every_contract
@QUICK
@given(data=st.data())
def test_a_value_beyond_its_range_is_refused_and_named(form: type[tables.Table], data: st.DataObject):
    limits = {name: bounds(column) for name, column in form.to_schema().columns.items()}
    ranges = [(name, rule, bound) for name in limits for rule, bound in limits[name].items() if math.isfinite(bound)]
    if not ranges:
        pytest.skip("no column has a range")
    frame = data.draw(legal(form, least=1))
    drawn = [one for one in ranges if one[0] in frame]  # optional columns may be absent
    assume(drawn)
    name, rule, bound = data.draw(st.sampled_from(drawn))
    outside = bound - 1 if rule.startswith("greater") else bound + 1
    frame.loc[data.draw(st.integers(0, len(frame) - 1)), name] = frame[name].dtype.type(outside)
    with pytest.raises(TableError, match=rf"^here: .*{name}: breaks {rule}") as caught:
        tables.check(frame, form, "here")
    assert len(str(caught.value)) < 3000


@every_contract
@QUICK
@given(data=st.data())
def test_a_column_that_is_lost_or_empty_is_named(form: type[tables.Table], data: st.DataObject):
    frame = data.draw(legal(form, least=1))
    columns = form.to_schema().columns
    name = data.draw(st.sampled_from([name for name, column in columns.items() if column.required]))
    with pytest.raises(TableError, match=f"column {name} is missing"):
        tables.check(frame.drop(columns=name), form, "here")
    if str(columns[name].dtype) != "int64" and not columns[name].nullable:
        holed = frame.assign(**{name: frame[name].where(frame.index > 0)})
        with pytest.raises(TableError, match=rf"{name}: breaks"):
            tables.check(holed, form, "here")


@every_contract
@QUICK
@given(data=st.data())
def test_a_word_that_is_none_of_the_allowed_is_refused(form: type[tables.Table], data: st.DataObject):
    columns = form.to_schema().columns
    closed = [name for name, column in columns.items() if any(check.name.startswith("isin") for check in column.checks)]
    frame = data.draw(legal(form, least=1))
    for name in set(closed) & set(frame):
        with pytest.raises(TableError, match=rf"{name}: breaks isin"):
            tables.check(frame.assign(**{name: "nonesuch"}), form, "here")


@every_contract
@QUICK
@given(data=st.data())
def test_a_row_twice_is_refused_where_rows_have_a_key(form: type[tables.Table], data: st.DataObject):
    schema = form.to_schema()
    keyed = bool(schema.unique) or any(column.unique for column in schema.columns.values()) or form is tables.Index
    frame = data.draw(legal(form, least=1))
    twice = pd.concat([frame, frame.iloc[-1:]], ignore_index=True)
    if keyed:
        with pytest.raises(TableError):
            tables.check(twice, form, "here")
    else:
        tables.check(twice, form, "here")


# -- rules of their own -----------------------------------------------------------------------------------------------


def index() -> pd.DataFrame:
    """Two tracks of two identities, three frames each."""
    rows = [
        {
            "track_id": f"id{person}/v/c/0",
            "identity": f"id{person}",
            "video": "v",
            "clip": f"id{person}/v/c.mp4",
            "frame_no": frame,
            "time_s": float(frame),
            "shard": "tracks-00000.tar",
            "offset": 512 * (3 * person + frame),
            "size": 100,
            "left": 0.0,
            "top": 0.0,
            "right": 64.0,
            "bottom": 64.0,
            "sharpness": 10.0,
            "brightness": 128.0,
            "face_px": 64.0,
            "cut_off": 0.0,
            "presence": 0.9,
            "roll_deg": -10.0,
            "pitch_deg": 5.0,
            "yaw_deg": 20.0,
            "mouth_open": 0.1,
            "eyes_open": 0.3,
        }
        for person in range(2)
        for frame in range(3)
    ]
    return pd.DataFrame(rows)


def labels() -> pd.DataFrame:
    """A face of each split, with every label."""
    count = len(tables.SPLITS)
    points = np.arange(136, dtype=float)
    frame = pd.DataFrame({"face_id": [f"f{i}" for i in range(count)], "identity": [f"p{i}" for i in range(count)]})
    frame["split"] = list(tables.SPLITS)
    frame["image"] = frame["face_id"] + ".jpg"
    for column, value in {"left": 0.0, "top": 0.0, "right": 64.0, "bottom": 64.0}.items():
        frame[column] = value
    frame["landmarks68"] = pd.Series([points] * count, dtype=object)
    frame["landmarks5"] = pd.Series([points[:10]] * count, dtype=object)
    for column in tables.ANGLE_COLUMNS:
        frame[column] = 12.5
    frame["expression"] = "happy"
    for column in tables.UNIT_COLUMNS:
        frame[column] = 0.5
    return frame


def predictions() -> pd.DataFrame:
    row = {
        "encoder": "fabnet",
        "probe": "regularised",
        "task": "pose",
        "seed": 0,
        "identity": "p",
        "target": [1.0, 2.0, 3.0],
    }
    return pd.DataFrame([row | {"face_id": face, "prediction": [1.5, 2.5, 3.5]} for face in ("f0", "f1")])


LEGAL = {tables.Index: index, tables.Labels: labels, tables.Predictions: predictions}

# Rules that no property above knows: patterns, and what rows, columns or elements owe each other.
BROKEN: list[tuple[Any, str, Any, str]] = [
    # contract, column, illegal value of row 1, what the message must say
    (tables.Index, "track_id", "a b", "track_id: breaks str_matches"),
    (tables.Index, "shard", "shard.tar", "shard: breaks str_matches"),
    (tables.Index, "time_s", float("inf"), "time_s: breaks less_than(inf)"),
    (tables.Index, "right", 0.0, "box_has_area"),
    (tables.Index, "identity", "id9", "one_identity_per_track"),
    (tables.Index, "frame_no", 0, "frames_of_a_track_contiguous_and_increasing"),
    (tables.Index, "frame_no", 9, "frames_of_a_track_contiguous_and_increasing"),
    (tables.Labels, "landmarks68", np.zeros(10), "landmarks68: breaks 68_points"),
    (tables.Labels, "landmarks5", np.full(10, np.nan), "landmarks5: breaks 5_points"),
    (tables.Labels, "identity", "p0", "one_split_per_identity"),
    (tables.Predictions, "face_id", "f0", "unique"),
]


@pytest.mark.parametrize(
    ("form", "column", "value", "says"),
    BROKEN,
    ids=[f"{form.__name__}-{column}-{says.split()[-1]}" for form, column, _, says in BROKEN],
)
def test_illegal_value_is_refused_with_its_column_and_rule(
    tmp_path: Path, form: type[tables.Table], column: str, value: Any, says: str
):
    frame = LEGAL[form]()
    tables.check(frame, form, "here")
    frame.at[1, column] = value
    path = tmp_path / "t.parquet"
    with pytest.raises(TableError) as caught:
        tables.write(frame, path, form)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message
    assert not path.exists()


@every_contract
def test_empty_table_is_legal_and_an_unknown_column_is_named(tmp_path: Path, form: type[tables.Table]):
    frame = form.empty_frame()
    tables.write(frame, tmp_path / "t.parquet", form)
    assert list(tables.read(tmp_path / "t.parquet", form).columns) == list(frame.columns)
    if form.to_schema().strict:
        with pytest.raises(TableError, match="column misspelt is unknown"):
            tables.check(frame.assign(misspelt=1), form, "here")


def test_track_that_is_taken_up_again_is_refused():
    frame = index().iloc[[0, 1, 3, 4, 5, 2]].reset_index(drop=True)
    with pytest.raises(TableError, match="contiguous"):
        tables.check(frame, tables.Index, "here")


def test_message_stays_short_however_many_rows_are_bad():
    frame = pd.DataFrame({"identity": ["a", "b", "c"] * 2_000, "split": "x" * 1000})
    with pytest.raises(TableError) as caught:
        tables.check(frame, tables.Splits, "here")
    assert "6000 time(s)" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_boxes_are_read_from_csv_with_extra_columns(tmp_path: Path):
    path = tmp_path / "boxes.csv"
    path.write_text("clip,time_s,left,top,right,bottom,score\na.mp4,0,1,2,30,40,0.9\n")
    frame = tables.read(path, tables.Boxes)
    assert frame[["time_s", "left", "bottom"]].iloc[0].tolist() == [0.0, 1.0, 40.0]
    path.write_text("clip,time_s,left,top,right\na.mp4,0,1,2,30\n")
    with pytest.raises(TableError, match="column bottom is missing"):
        tables.read(path, tables.Boxes)
    path.write_text("clip,time_s,left,top,right,bottom\na.mp4,0,wide,2,30,40\n")
    with pytest.raises(TableError, match="left"):
        tables.read(path, tables.Boxes)


def test_file_that_is_no_table(tmp_path: Path):
    with pytest.raises(TableError, match="no such table"):
        tables.read(tmp_path / "absent.parquet", tables.Splits)
    path = tmp_path / "t.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(TableError, match=r"t\.parquet: cannot be read as a table"):
        tables.read(path, tables.Splits)
