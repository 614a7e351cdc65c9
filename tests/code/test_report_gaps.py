"""A figure or section that fails leaves a gap; the rest of the report is written, and then the stage fails."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from labelled_faces import write_labelled_faces

from fabnet import tables
from fabnet.attributes.sets import TASKS, open_set, targets
from fabnet.config import EncoderParams, SetParams
from fabnet.errors import ConfigError, UserError
from fabnet.figures.pictures import Gap, Picture, attempt, picture, read_pictures, write_pictures
from fabnet.files import read_json, write_json
from fabnet.probing.illustrate_set import select_encoders
from fabnet.probing.predictions import frame, open_writer
from fabnet.report.blocks import Section, Text, gaps_of, require_whole, section
from fabnet.report.set_results import origin

ROOT = Path(__file__).parents[2]


def fail(message="nothing to draw"):
    raise ValueError(message)


def wrong_file():
    raise UserError("a.parquet: no such table")


def test_what_fails_becomes_a_gap_that_says_what_and_why(capsys):
    assert attempt("curves", lambda: 3) == 3
    assert attempt("curves", fail) == Gap("curves", "ValueError: nothing to draw")
    assert "Traceback" in capsys.readouterr().err  # where it happened is for the log
    assert attempt("curves", wrong_file) == Gap("curves", "a.parquet: no such table")
    assert "Traceback" not in capsys.readouterr().err
    assert section("A", "a", fail) == Section("A", "a", [Gap("A", "ValueError: nothing to draw")], [])
    assert section("A", "a", fail, "b").blocks == [Gap("b", "ValueError: nothing to draw")]
    below = Section("B", "b")
    assert section("A", "a", lambda: iter([Text("1"), below, Text("2")])) == Section(
        "A", "a", [Text("1"), Text("2")], [below]
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_gap(error):
    def stop():
        raise error

    with pytest.raises(error):
        attempt("curves", stop)


def test_all_gaps_are_named():
    whole = [Section("A", "a", [Text("fine")])]
    require_whole(whole, "results.md")
    holed = [*whole, Section("B", "b", [Gap("x", "1")], [Section("C", "c", [Text(""), Gap("y", "2")])])]
    assert [gap.what for gap in gaps_of(holed)] == ["x", "y"]
    with pytest.raises(UserError, match=r"results\.md: written, but 2 part\(s\) of it could not be made: x: 1; y: 2"):
        require_whole(holed, "results.md")


def test_pictures_and_their_gaps_reach_the_report(tmp_path):
    made = [
        picture(tmp_path / "a.png", "An a", "See it.", plt.Figure, 40),
        picture(tmp_path / "b.png", "A b", "", fail, 40),
        picture(tmp_path / "c.png", "A c", "", plt.Figure, 40),
    ]
    assert made[1] == Gap("A b", "ValueError: nothing to draw")
    write_pictures(tmp_path, made)
    assert read_pictures(tmp_path) == [made[0], made[2], made[1]]
    (tmp_path / "c.png").unlink()
    assert read_pictures(tmp_path)[1] == Gap("A c", f"{tmp_path / 'c.png'}: no such file")
    with pytest.raises(UserError, match=r"pictures\.json: no such file; run `dvc repro`"):
        read_pictures(tmp_path / "elsewhere")


def test_runs_that_numbers_came_from():
    runs = {"fabnet": "`train@fabnet` `abc`"}
    others = {"theirs": EncoderParams(source="onnx:a.onnx", saw="images")}
    assert origin("fabnet", "faces", runs, others) == "`train@fabnet` `abc` → `probe@faces`"
    assert origin("hog", "faces", runs, others) == "`baseline@faces` → `probe@faces`"
    assert origin("constant", "faces", runs, others) == origin("given", "faces", runs, others) == "`probe@faces`"
    assert origin("vgg11", "faces", runs, others) == "`supervise@faces`"
    made = "`onnx:a.onnx`, which saw: images → `embed@faces` → `probe@faces`"
    assert origin("theirs", "faces", runs, others) == made


def test_pictures_show_the_reference_and_what_it_has_to_beat():
    objectives = {"fabnet": "fabnet", "fabnet_2": "fabnet", "autoencoder": "autoencoder", "rotation": "rotation"}
    scored = [*objectives, "hog", "pca", "random", "constant"]
    chosen = ["fabnet_2", "autoencoder", "rotation", "hog", "random"]
    assert select_encoders(scored, objectives, "fabnet_2", 8) == chosen
    assert select_encoders(scored, objectives, "fabnet_2", 2) == chosen[:2]
    assert select_encoders(scored, objectives, "pca", 8)[:2] == ["pca", "fabnet"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_labelled_faces(folder, identities=25, per_identity=6)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch, faces):
    """Predictions on a tiny set, and nothing else that a report needs: no models, no frames, no retrieval."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["sets"] = {"tiny": {"kind": "synthetic", "path": str(faces)}}
    params["train"] |= {"variants": {"fabnet": {}, "autoencoder": {"objective": "autoencoder"}}, "finetuned": {}}
    params["extract"]["image_size"] = 32
    params["report"] |= {"bootstrap": 100, "reference": "fabnet"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    labelled = open_set("tiny", SetParams(kind="synthetic", path=faces))
    test = labelled.table()[labelled.table()["split"] == "test"]
    random = np.random.default_rng(0)
    with open_writer(tmp_path / "probes/tiny/predictions.parquet") as writer:
        for encoder, noise in (("fabnet", 0.1), ("autoencoder", 0.3), ("hog", 0.5)):
            for task in ("landmarks68", "pose"):
                true = targets(test, TASKS[task])
                made = true + random.normal(0, noise, (2, *true.shape)) * true.std()
                writer.add(frame(encoder, "regularised", task, test, made, true, 32))
                writer.add(frame(encoder, "paper", task, test, made[:1], true, 32))
    write_json(
        tmp_path / "probes/tiny/choices.json",
        {"absent": {}, "protocol": {"scored": "test split", "faces": 30, "identities": 5}},
    )
    write_json(tmp_path / "reports/data/sets/tiny.json", {"counts": {"left_out": {"listed twice": 2}}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT / "stages"), *sys.path])
    return tmp_path


def test_a_picture_that_fails_does_not_take_the_others_with_it(project, monkeypatch, capsys):
    import illustrate

    monkeypatch.setattr("fabnet.probing.illustrate_set.pose_scatter", lambda *arguments: fail("no room for points"))
    illustrate.main("tiny")
    assert "no room for points" in capsys.readouterr().err
    found = read_pictures(project / "reports/sets/tiny")
    names = {each.path.name for each in found if isinstance(each, Picture)}
    assert names == {"faces.png", "landmarks_fabnet.png", "landmarks_autoencoder.png", "slices.png"}
    assert [each.why for each in found if isinstance(each, Gap)] == ["ValueError: no room for points"]
    slices = read_json(project / "reports/sets/tiny/slices.json")
    assert slices["side"]["one_value"] == 32
    assert sum(bin_["faces"] for bin_ in slices["brightness"]["bins"]) == 30
    assert slices["yaw"]["bins"][0]["scores"]["hog"]["pose_mae_deg"]["n"] == slices["yaw"]["bins"][0]["faces"]


def test_the_report_is_written_with_gaps_and_the_stage_fails(project):
    import report

    with pytest.raises(UserError, match=r"reports/results\.md: written, but \d+ part\(s\)") as raised:
        report.main()
    for missing in ("card of fabnet", "tiny: pictures", "Among the test faces", "Frames of five", "Identities across"):
        assert missing in str(raised.value)
    text = (project / "reports/results.md").read_text()
    assert "> **Not made: tiny: pictures.** reports/sets/tiny/pictures.json: no such file" in text
    # What could be made is there.
    assert "| fabnet | unknown | **" in text  # its card would say what it learnt from
    assert "| listed twice | 2 |" in text
    assert "### Differences to `fabnet` on the same faces" in text
    assert "Table 1 on **`tiny`**" in text
    metrics = read_json("metrics.json")
    assert set(metrics["tiny"]) == {"fabnet", "autoencoder", "hog"}
    assert read_json("reports/paired.json")["tiny"]["reference"] == "fabnet"
    assert read_json("reports/paired.json")["tiny"]["differences"]["hog"]["pose_mae_deg"]["n"] == 30
    for scores in metrics["tiny"].values():  # the headline, and the paper's probe under names that say so
        names = {"landmarks68_nme_pct", "pose_mae_deg", "roll_mae_deg", "pitch_mae_deg", "yaw_mae_deg"}
        assert set(scores) == names | {f"paper_probe_{name}" for name in names}


def test_predictions_that_cannot_be_read_are_a_gap_of_their_set(project):
    import report

    (project / "probes/tiny/predictions.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"labelled set tiny: .*predictions\.parquet: cannot be read as a table"):
        report.main()
    assert (
        "## Labelled set `tiny`\n\n> **Not made: labelled set tiny.**" in (project / "reports/results.md").read_text()
    )
    assert read_json("metrics.json") == {}


def test_a_reference_that_nobody_scored_names_the_key(project):
    import report

    params = yaml.safe_load((project / "params.yaml").read_text())
    params["report"]["reference"] = "fabnett"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ConfigError, match=r"report\.reference: there is no encoder fabnett; there are autoencoder, f"):
        report.main()


def test_few_labels_are_shown_where_they_were_measured(project):
    import illustrate
    import report

    rows = [
        (encoder, share, faces, metric, 9.0 - share, 8.0, 9.5, 3)
        for encoder in ("fabnet", "hog")
        for share, faces in ((0.1, 9), (1.0, 90))
        for metric in ("pose_mae_deg", "landmarks68_nme_pct")
    ]
    columns = ["encoder", "share", "faces", "metric", "value", "low", "high", "seeds"]
    tables.write(pd.DataFrame(rows, columns=columns), "probes/tiny/low_label.parquet", tables.LowLabel)
    illustrate.main("tiny")
    with pytest.raises(UserError):
        report.main()
    text = (project / "reports/results.md").read_text()
    assert "| pose ° ↓ | 10 % = 9 faces | 100 % = 90 faces |" in text
    assert "| hog | 8.9 [8.0, 9.5] | 8.0 [8.0, 9.5] |" in text
    assert "](sets/tiny/low_label.png)" in text
