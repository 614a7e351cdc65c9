"""`fabnet embed`: how it goes on after an interruption or a refusal."""

import pyarrow.parquet as pq
import pytest
from inference_files import write_colours, write_model, write_random_heads, write_talk

from fabnet.errors import UserError
from fabnet.faces.face_params import params_of
from fabnet.faces.found import FaceCrop
from fabnet.inference import embed as embed_module
from fabnet.inference.embed import embed, run_job
from fabnet.inference.formats import table
from fabnet.model import load


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def params(model):
    return params_of(model.recipe, model.size, workers=1)


def count_jobs(monkeypatch, stop_after=None):
    """The inputs whose jobs run from now on; ends the run as Ctrl-C does after some."""
    done = []

    def counted(job):
        if stop_after is not None and len(done) == stop_after:
            raise KeyboardInterrupt
        run_job(job)
        done.append(job.inputs[0].name)

    monkeypatch.setattr(embed_module, "run_job", counted)
    return done


def test_strict_refuses_bad_inputs_and_keeps_what_was_done(model, params, tmp_path, monkeypatch):
    good = write_colours(tmp_path / "good.mp4", 8)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(UserError, match=r"--strict: .*missing: does not exist"):
        embed([good, tmp_path / "missing"], model, tmp_path / "out.parquet", params, strict=True)
    with pytest.raises(UserError, match=r"--strict: .*text\.mp4: unreadable"):
        embed([good, text], model, tmp_path / "out.parquet", params, strict=True)
    assert not (tmp_path / "out.parquet").exists()
    done = count_jobs(monkeypatch)
    write_colours(text, 8)
    assert embed([good, text], model, tmp_path / "out.parquet", params, strict=True).faces == 4
    assert done == [text.as_posix()]


def test_an_interrupted_run_goes_on_to_the_same_bytes(model, params, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS", 4)  # row groups of faces of several inputs
    write_random_heads(tmp_path / "heads.npz", model.path)
    clips = [write_colours(tmp_path / f"{name}.mp4", frames) for name, frames in (("c", 17), ("a", 8), ("b", 31))]
    reading = load(model.path, tmp_path / "heads.npz")
    arguments = (reading, tmp_path / "out.parquet", params)
    first = count_jobs(monkeypatch, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        embed(clips, *arguments)
    assert first == [clip.as_posix() for clip in clips[:2]]
    assert not (tmp_path / "out.parquet").exists()
    rest = count_jobs(monkeypatch)
    embed(clips, *arguments)
    assert rest == [clips[2].as_posix()]
    whole = count_jobs(monkeypatch)
    embed(clips, reading, tmp_path / "whole.parquet", params)
    assert len(whole) == 3
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "out.parquet")
    counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert counts == [4, 4, 4, 1]


def test_parts_of_another_input_model_or_option_are_not_taken_over(model, params, tmp_path, monkeypatch):
    clips = [write_colours(tmp_path / f"{name}.mp4", 8) for name in "ab"]
    out = tmp_path / "out.parquet"

    def interrupted():
        count_jobs(monkeypatch, stop_after=1)
        with pytest.raises(KeyboardInterrupt):
            embed(clips, model, out, params)
        return count_jobs(monkeypatch)

    done = interrupted()
    embed(clips, model, out, params.model_copy(update={"fps": 2.0}))
    assert len(done) == 2
    done = interrupted()
    write_colours(clips[0], 11)
    embed(clips, model, out, params)
    assert len(done) == 2
    done = interrupted()
    embed(clips, load(write_model(tmp_path / "other", seed=1)), out, params)
    assert len(done) == 2
    done = interrupted()
    embed(clips, model, out, params)
    assert len(done) == 1
    assert not (tmp_path / "out.parquet.parts").exists()


def test_parts_of_before_faces_had_a_score_are_made_again(tmp_path, monkeypatch):
    found = load(write_model(tmp_path / "found", source="folder"))
    clips, out = [write_talk(tmp_path / f"{name}.mp4", 2) for name in "ab"], tmp_path / "out.parquet"
    params = found.face_params(fps=1, workers=1)
    with monkeypatch.context() as before:
        before.setattr(embed_module, "_VERSION", 1)
        before.setattr(embed_module, "are_scored", lambda params: False)
        before.setattr(embed_module, "FaceCrop", lambda *known: FaceCrop(*known[:6]))
        count_jobs(before, stop_after=1)
        with pytest.raises(KeyboardInterrupt):
            embed(clips, found, out, params)
    (part,) = (tmp_path / "out.parquet.parts").glob("part-*.parquet")
    assert "score" not in pq.read_schema(part).names
    done = count_jobs(monkeypatch)
    assert embed(clips, found, out, params).faces == 4
    assert len(done) == 2
    assert pq.read_table(out)["score"].null_count == 0
    assert not part.parent.exists()
