"""The formats of `fabnet embed` and `fabnet convert`: columns, units and signs, against hand-worked values."""

import csv
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run_fabnet
from inference_files import write_colours, write_model, write_random_heads, write_talk

from fabnet.inference.convert import convert
from fabnet.inference.formats import openface
from fabnet.inference.formats.openface import openface_angles
from fabnet.inference.formats.table import open_plain_parquet
from fabnet.model import load
from fabnet.synthetic.render import rotation
from fabnet.synthetic.state import FaceState

SCORES = (0.5, 0.8049, 0.8051, 0.9999, 1.0)
UNITS = (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model with probes, a clip, and its table: `read.parquet` with readings, `bare.parquet` without, and
    `scored.parquet` with readings and scores."""
    folder = tmp_path_factory.mktemp("formats")
    write_model(folder / "model")
    write_random_heads(folder / "heads.npz", folder / "model")
    write_colours(folder / "clip.mp4", 23)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, heads in (("read", "heads.npz"), ("bare", None)):
            trained = load("model", heads)
            faces = list(trained.faces("clip.mp4"))
            with open_plain_parquet(Path(f"{name}.parquet"), trained.columns()) as file:
                file.add(trained.table(faces, "recipe"))
        scored = [replace(face, score=score) for face, score in zip(faces, SCORES, strict=True)]
        trained = load("model", "heads.npz")
        with open_plain_parquet(Path("scored.parquet"), trained.columns(scored=True)) as file:
            file.add(trained.table(scored, "recipe"))
    return folder


@pytest.fixture
def fabnet(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    return lambda *arguments: run_fabnet(monkeypatch, capsys, *arguments)


def about(axis: int, angle: float) -> np.ndarray:
    """The right-handed rotation about an axis, written out."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(
        [[[1, 0, 0], [0, c, -s], [0, s, c]], [[c, 0, s], [0, 1, 0], [-s, 0, c]], [[c, -s, 0], [s, c, 0], [0, 0, 1]]][
            axis
        ]
    )


@pytest.mark.parametrize(
    ("roll", "pitch", "yaw", "expected"),
    [(0, 0, 30, (0, -0.5236, 0)), (0, 20, 0, (-0.3491, 0, 0)), (15, 0, 0, (0, 0, 0.2618))],
)
def test_signs_of_a_hand_turned_face(roll, pitch, yaw, expected):
    """The renderer moves the tip of the nose, and OpenFace's angles say the same in its own axes."""
    np.testing.assert_allclose(openface_angles(np.array([[roll, pitch, yaw]]))[0], expected, atol=1e-4)
    right, up, _ = rotation(FaceState(roll=roll, pitch=pitch, yaw=yaw)) @ [0, 0, 1]  # where the face looks
    assert (np.sign(right), np.sign(up)) == (np.sign(yaw), np.sign(pitch))
    crown, _, _ = rotation(FaceState(roll=roll, pitch=pitch, yaw=yaw)) @ [0, 1, 0]
    assert np.sign(crown) == np.sign(roll)  # clockwise: the top of the head goes to the image's right


def test_angles_are_those_of_the_rendered_head():
    """R = Rx Ry Rz with y down and z away is the rotation that the renderer draws with y up and z towards."""
    angles = np.random.default_rng(0).uniform((-40, -40, -70), (40, 40, 70), (50, 3))
    flip = np.diag([1, -1, -1])
    for (roll, pitch, yaw), (x, y, z) in zip(angles, openface_angles(angles), strict=True):
        drawn = flip @ rotation(FaceState(roll=roll, pitch=pitch, yaw=yaw)) @ flip
        np.testing.assert_allclose(about(0, x) @ about(1, y) @ about(2, z), drawn, atol=1e-7)


def test_openface(fabnet, made):
    code, out, _ = fabnet("convert", "read.parquet", "--format", "openface", "--out", "openface.csv")
    assert (code, out) == (0, ["openface.csv: 5 faces"])
    lines = (made / "openface.csv").read_text().splitlines()
    names = lines[0].split(", ")
    points = [f"{axis}_{point}" for axis in "xy" for point in range(68)]
    units = [f"AU{unit:02d}_c" for unit in UNITS]
    assert names == ["frame", "face_id", "timestamp", "success", "pose_Rx", "pose_Ry", "pose_Rz", *points, *units]
    cells = [dict(zip(names, line.split(", "), strict=True)) for line in lines[1:]]
    table = pd.read_parquet(made / "read.parquet")
    assert [(one["frame"], one["face_id"], one["timestamp"], one["success"]) for one in cells[:2]] == [
        ("1", "0", "0.000", "1"),
        ("2", "0", "1.000", "1"),
    ]
    for one, row in zip(cells, table.itertuples(), strict=True):
        angles = openface_angles(np.array([[row.roll_deg, row.pitch_deg, row.yaw_deg]]))[0]
        assert [one[f"pose_R{axis}"] for axis in "xyz"] == pytest.approx([f"{angle:.3f}" for angle in angles])
        expected = np.reshape(row.landmarks68, (68, 2)).astype(float).T.ravel() - 0.5
        np.testing.assert_allclose([float(one[name]) for name in points], expected, atol=0.0501)
        assert [one[name] for name in units] == [f"{getattr(row, f'au{unit:02d}') >= 0.5:.1f}" for unit in UNITS]
    # Readers of OpenFace's files strip the blanks of the names, as py-feat does.
    assert pd.read_csv(made / "openface.csv", skipinitialspace=True)["AU26_c"].isin([0, 1]).all()


def test_openface_has_a_column_only_where_there_is_a_probe(fabnet, made):
    table = pq.read_table(made / "read.parquet")
    kept = [name for name in table.column_names if not name.startswith(("landmarks", "au"))]
    pq.write_table(table.select(kept), made / "pose.parquet")
    assert fabnet("convert", "pose.parquet", "--format", "openface", "--out", "pose.csv")[0] == 0
    assert (made / "pose.csv").read_text().splitlines()[0] == (
        "frame, face_id, timestamp, success, pose_Rx, pose_Ry, pose_Rz"
    )


def test_openface_has_the_confidence_that_a_detector_gave(fabnet, made):
    assert fabnet("convert", "scored.parquet", "--format", "openface", "--out", "scored.csv")[0] == 0
    assert fabnet("convert", "read.parquet", "--format", "openface", "--out", "plain.csv")[0] == 0
    scored, plain = (
        [line.split(", ") for line in (made / f"{name}.csv").read_text().splitlines()] for name in ("scored", "plain")
    )
    assert scored[0][:6] == ["frame", "face_id", "timestamp", "confidence", "success", "pose_Rx"]
    assert [row[3] for row in scored[1:]] == ["0.50", "0.80", "0.81", "1.00", "1.00"]
    assert [row[:3] + row[4:] for row in scored] == plain
    faces = pd.read_csv(made / "scored.csv", skipinitialspace=True)
    assert faces.query("confidence > 0.8")["frame"].tolist() == [3, 4, 5]


def test_fex_has_the_score_that_a_detector_gave(fabnet, made):
    assert fabnet("convert", "scored.parquet", "--format", "fex", "--out", "scored-fex.csv")[0] == 0
    assert fabnet("convert", "read.parquet", "--format", "fex", "--out", "plain-fex.csv")[0] == 0
    scored, plain = pd.read_csv(made / "scored-fex.csv"), pd.read_csv(made / "plain-fex.csv")
    assert scored["FaceScore"].tolist() == pytest.approx(SCORES, abs=1e-6)
    assert scored.columns.tolist() == plain.columns.tolist()
    pd.testing.assert_frame_equal(scored.drop(columns="FaceScore"), plain.drop(columns="FaceScore"))


def test_fex(fabnet, made):
    assert fabnet("convert", "read.parquet", "--format", "fex", "--out", "fex.csv")[0] == 0
    fex, table = pd.read_csv(made / "fex.csv"), pd.read_parquet(made / "read.parquet")
    assert list(fex.columns) == [
        *("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"),
        *(f"{axis}_{point}" for axis in "xy" for point in range(68)),
        *("Pitch", "Roll", "Yaw", "X", "Y", "Z"),
        *(f"AU{unit:02d}" for unit in UNITS),
        *("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt"),
        *("input", "frame", "approx_time", "track", "time_s"),
    ]
    assert fex[["FaceScore", "X", "Y", "Z"]].isna().all(axis=None)
    assert (fex[["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]] == [8, 0, 64, 64]).all(axis=None)
    for row, ours in zip(fex.itertuples(), table.itertuples(), strict=True):
        x, y, z = openface_angles(np.array([[ours.roll_deg, ours.pitch_deg, ours.yaw_deg]]))[0]
        assert (row.Pitch, row.Roll, row.Yaw) == pytest.approx((-x, z, y), abs=1e-6)
        assert (row.x_36, row.y_36) == pytest.approx(np.array(ours.landmarks68[72:74]) - 0.5, abs=1e-5)
        assert (row.AU12, row.happiness) == pytest.approx((ours.au12, ours.expression_happy), abs=1e-6)
    emotions = fex.loc[:, "anger":"contempt"]  # type: ignore[misc]
    np.testing.assert_allclose(emotions.sum(axis=1), 1, atol=1e-5)
    assert fex["approx_time"].tolist() == ["00:00", "00:01", "00:02", "00:03", "00:04"]
    assert (fex["input"].unique().tolist(), fex["frame"].tolist()) == (["clip.mp4"], [0, 1, 2, 3, 4])


def test_csv_holds_the_whole_table(fabnet, made):
    assert fabnet("convert", "read.parquet", "--out", "read.csv")[0] == 0  # by its name
    plain, table = pd.read_csv(made / "read.csv"), pd.read_parquet(made / "read.parquet")
    single = [name for name in table.columns if name not in ("embedding", "landmarks68", "landmarks5")]
    pd.testing.assert_frame_equal(plain[single], table[single], check_dtype=False)
    embedding = plain[[f"embedding_{value}" for value in range(16)]]
    np.testing.assert_array_equal(embedding.to_numpy(np.float32), np.stack(table["embedding"].tolist()))
    assert plain["landmarks68_y36"].to_numpy(np.float32).tolist() == [row[73] for row in table["landmarks68"]]
    assert len(plain.columns) == len(single) + 16 + 136 + 10


@pytest.mark.parametrize(("clip", "faces"), [("clip.mp4", 5), ("talk.mp4", 2)])
def test_embed_writes_what_convert_writes(clip, faces, fabnet, made):
    """Of a face that is taken from the middle, and of one that is looked for, which has a score."""
    if clip == "talk.mp4":
        write_talk(made / clip, 2)
    ways = () if clip == "clip.mp4" else ("--faces", "detect", "--force")
    embed = ("embed", clip, "--model", "model", "--heads", "heads.npz", "--workers", 1, *ways)
    assert fabnet(*embed, "--out", "t.parquet")[0] == 0
    assert ("score" in pq.read_schema(made / "t.parquet").names) == (clip == "talk.mp4")
    for name in ("csv", "openface", "fex"):
        code, out, err = fabnet(*embed, "--format", name, "--out", f"embedded-{name}.csv")
        assert (code, out) == (0, [f"embedded-{name}.csv: {faces} faces in 1 track of 1 input"]), err
        assert fabnet("convert", "t.parquet", "--format", name, "--out", f"converted-{name}.csv")[0] == 0
        assert (made / f"embedded-{name}.csv").read_bytes() == (made / f"converted-{name}.csv").read_bytes()


def test_names_with_commas_and_quotes_survive(made):
    table = pq.read_table(made / "read.parquet")
    name = 'a, "b"\nü.mp4'
    odd = table.set_column(0, table.schema.field(0), pa.array([name] * len(table), pa.string()))
    pq.write_table(odd, made / "odd.parquet")
    for format in ("csv", "fex"):
        convert(made / "odd.parquet", made / "odd.csv", format)
        with open(made / "odd.csv", newline="") as file:
            assert {row["input"] for row in csv.DictReader(file)} == {name}


BAD = {
    ("embed", "clip.mp4", "--model", "model", "--format", "openface", "--out", "no.csv"): (
        "model: has no readings of probes, and --format openface is made of them (landmarks68, pose, units); give them "
        "by --heads"
    ),
    (
        "embed",
        "clip.mp4",
        "clip2.mp4",
        "--model",
        "model",
        "--heads",
        "heads.npz",
        "--format",
        "openface",
        "--out",
        "no.csv",
    ): (
        "--format openface: 2 inputs, but such a file is of one, and has no column to tell them apart; give one input "
        "for each file"
    ),
    ("convert", "bare.parquet", "--format", "fex", "--out", "no.csv"): (
        "bare.parquet: has no readings of probes, and --format fex is made of them (landmarks68, pose, units, "
        "expression); embed with --heads"
    ),
    ("convert", "read.parquet", "--format", "openface", "--out", "no.parquet"): (
        "no.parquet: --format openface does not write parquet; name it no.csv"
    ),
    ("convert", "absent.parquet", "--out", "no.csv"): (
        "absent.parquet: no such file; name a Parquet file of `fabnet embed`"
    ),
    ("convert", ".", "--out", "no.csv"): ".: is a folder; name a Parquet file of `fabnet embed`",
    ("convert", "clip.mp4", "--out", "no.csv"): "clip.mp4: no Parquet file: ",
    (
        "convert",
        "other.parquet",
        "--out",
        "no.csv",
    ): "other.parquet: no table of `fabnet embed`: it has no column bottom, ",
    ("convert", "two.parquet", "--format", "openface", "--out", "no.csv"): "--format openface: 2 inputs, but ",
    ("convert", "cut.parquet", "--out", "no.csv"): "cut.parquet: ",
}


@pytest.mark.parametrize("command", BAD, ids=lambda command: command[-1] if isinstance(command, str) else command[1])
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(command, fabnet, made):
    write_colours(made / "clip2.mp4", 5)
    pq.write_table(pa.table({"input": ["a"]}), made / "other.parquet")
    table = pq.read_table(made / "read.parquet")
    second = table.set_column(0, table.schema.field(0), pa.array(["b.mp4"] * len(table), pa.string()))
    pq.write_table(pa.concat_tables([table, second]), made / "two.parquet")
    whole = (made / "read.parquet").read_bytes()
    (made / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    before = {path.name for path in made.iterdir()}
    code, out, err = fabnet(*command)
    assert (code, out, len(err)) == (1, [], 1), err
    assert err[0].startswith(f"error: {BAD[command]}")
    assert {path.name for path in made.iterdir()} == before


def test_damage_inside_a_table_is_one_line_and_leaves_nothing(fabnet, made):
    data = bytearray((made / "read.parquet").read_bytes())
    data[200:2000] = bytes(1800)
    (made / "damaged.parquet").write_bytes(data)
    before = {path.name for path in made.iterdir()}
    code, out, err = fabnet("convert", "damaged.parquet", "--out", "no.csv")
    assert (code, out) == (1, [])
    assert err[-1].startswith("error: damaged.parquet: damaged: ")
    assert {path.name for path in made.iterdir()} == before


def test_memory_is_flat_in_the_length_of_a_table(made, monkeypatch):
    """Row groups of the size that `fabnet embed` writes, 2 and 10 of them: Arrow's memory and Python's."""
    table = pq.read_table(made / "read.parquet")
    group = table.take(np.arange(2048) % len(table))
    at = table.column_names.index("landmarks68")
    noise = (
        np.random.default_rng(0).normal(50, 20, 2048 * 136).astype(np.float32)
    )  # else all of it compresses to nothing
    points = pa.FixedSizeListArray.from_arrays(pa.array(noise), 136)
    group = group.set_column(at, table.schema.field(at), points)
    add, arrow = openface.OpenFaceCsv.add, list[int]()

    def watched(self, rows):
        add(self, rows)
        arrow.append(pa.total_allocated_bytes())

    monkeypatch.setattr(openface.OpenFaceCsv, "add", watched)
    peaks = []
    tracemalloc.start()
    for groups in (2, 10):
        with open_plain_parquet(made / "groups.parquet", table.schema) as file:
            for _ in range(groups):
                file.add(group)
        arrow.clear()
        tracemalloc.reset_peak()
        convert(made / "groups.parquet", made / "groups.csv", "openface")
        peaks.append((max(arrow), tracemalloc.get_traced_memory()[1]))
    tracemalloc.stop()
    assert len(arrow) == 10
    (short_arrow, short), (long_arrow, long) = peaks
    assert (made / "groups.csv").stat().st_size > 15e6
    assert long_arrow - short_arrow < 2e6
    assert long - short < 2e6
