"""Was a commit reproduced? The rules and the verdict, on made-up locks and scores."""

import dataclasses
import json
import math
import statistics
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from test_dvc import Repository

from fabnet.errors import UserError
from fabnet.pipeline import Stage, makers, read_pipeline, upstream
from fabnet.tracking.gate.compare import CannotCompare
from fabnet.tracking.gate.rules import GatesError
from fabnet.tracking.lineage import Entry
from fabnet.tracking.verify.compare import (
    BROKEN,
    EQUAL,
    TRAINED,
    VerifyRules,
    compare_scores,
    compare_stages,
    parse_scores,
    promised,
    read_verify_rules,
)
from fabnet.tracking.verify.verify import Verification, as_json, markdown, processor, summary, text

ROOT = Path(__file__).parents[2]
RULES = VerifyRules(
    trained=("train", "probe"), params=("workers",), untrained=("hog",), spread={"yaw_mae_deg": 0.3}, unmeasured=1.5
)


def stage(name: str, deps: list[str], outs: list[str]) -> Stage:
    return Stage(name, tuple(map(PurePosixPath, deps)), tuple(map(PurePosixPath, outs)))


#: A walk of the data in miniature; `plot` reads no training, `drawn` reads a set that is a part of an output.
STAGES = [
    stage("draw", ["code/draw"], ["data/drawn"]),
    stage("split", ["data/drawn", "code/split"], ["data/splits"]),
    stage("plot", ["data/splits"], ["reports/plot"]),
    stage("train@a", ["data/splits", "data/drawn/videos"], ["models/a"]),
    stage("train@b", ["data/splits"], ["models/b"]),
    stage("embed", ["models", "data/drawn/faces"], ["embeddings"]),
    stage("report", ["embeddings", "reports/plot"], ["metrics.json", "reports/page"]),
    stage("aside", ["embeddings"], ["aside"]),
]


def lock(stages: list[Stage] = STAGES, params: dict[str, Any] | None = None, **changed: str) -> dict[str, Entry]:
    """Hashes that are the paths themselves, but those that are named: slashes are `__` there."""
    hashes = {path.replace("__", "/"): value for path, value in changed.items()}

    def of(paths: tuple[PurePosixPath, ...]) -> dict[str, str]:
        return {str(path): hashes.get(str(path), str(path)) for path in paths}

    return {
        each.name: Entry(each.name, "", of(each.deps), of(each.outs), {"train": params or {"seed": 0, "workers": 2}})
        for each in stages
    }


# -- the pipeline ---------------------------------------------------------------------------------------------------


def test_what_a_stage_needs():
    assert [each.name for each in upstream("report", STAGES)] == [each.name for each in STAGES[:-1]]
    assert [each.name for each in upstream("split", STAGES)] == ["draw", "split"]
    assert [each.name for each in makers(PurePosixPath("models"), STAGES)] == ["train@a", "train@b"]
    assert [each.name for each in makers(PurePosixPath("data/drawn/faces/x"), STAGES)] == ["draw"]
    assert makers(PurePosixPath("code/draw"), STAGES) == []
    with pytest.raises(UserError, match=r"dvc.yaml: has no stage repot; there are draw, split, "):
        upstream("repot", STAGES)


def test_the_rules_of_this_project_promise_the_data(tmp_path: Path):
    made = Repository(tmp_path / "checkout")
    for name in ("dvc.yaml", "params.yaml"):
        (made.folder / name).write_text((ROOT / name).read_text())
    stages = upstream("report", read_pipeline(made.folder))
    rules = read_verify_rules(ROOT / "verify.yaml")
    kinds = {each.name.partition("@")[0] for each in stages}
    safe = {name.partition("@")[0] for name in promised(stages, rules)}
    assert safe == {"synthesize", "extract", "split", "validate", "validate_set"}
    assert kinds >= {*rules.trained} - {"finetune"} | {"embed", "retrieve", "report"}


# -- stages ---------------------------------------------------------------------------------------------------------


def verdicts(**changed: str) -> dict[str, str]:
    return {row.stage: row.verdict for row in compare_stages(STAGES, lock(), lock(**changed), RULES, "HEAD")}


def test_equal_locks_are_equal():
    assert set(verdicts().values()) == {EQUAL}


def test_what_training_changes_may_differ_and_what_reads_it_too():
    found = verdicts(models__b="other", embeddings="other", reports__page="other")
    differing = {"train@b": TRAINED, "embed": TRAINED, "report": TRAINED}
    assert found == {each.name: EQUAL for each in STAGES} | differing


def test_data_may_not_differ_nor_what_reads_data_alone():
    found = verdicts(data__drawn="other", reports__plot="other", models__a="other")
    assert found == {each.name: EQUAL for each in STAGES} | {"draw": BROKEN, "plot": BROKEN, "train@a": TRAINED}


def test_a_stage_tells_which_of_its_outputs_differ():
    rows = compare_stages(STAGES, lock(), lock(**{"metrics.json": "other"}), RULES, "HEAD")
    (report,) = [row for row in rows if row.stage == "report"]
    assert (report.outs, report.differing) == (2, ("metrics.json",))


def test_an_output_that_only_one_of_two_locks_has_differs():
    more = lock()
    outs = {**more["split"].outs, "data/groups": "some"}
    more["split"] = dataclasses.replace(more["split"], outs=outs)
    for there, here in ((more, lock()), (lock(), more)):
        rows = {row.stage: row for row in compare_stages(STAGES, there, here, RULES, "HEAD")}
        assert (rows["split"].outs, rows["split"].differing, rows["split"].verdict) == (2, ("data/groups",), BROKEN)


def test_another_version_of_a_contract_is_another_experiment():
    theirs, ours = (
        {
            name: dataclasses.replace(each, params={"contracts.json: A.version": version})
            for name, each in lock().items()
        }
        for version in (1, 2)
    )
    with pytest.raises(CannotCompare, match=r"^contracts.json: A.version is 2 here and 1 in HEAD: another experiment"):
        compare_stages(STAGES, theirs, ours, RULES, "HEAD")


def test_another_command_is_another_experiment():
    theirs = {name: dataclasses.replace(entry, cmd=f"run {name}") for name, entry in lock().items()}
    assert {row.verdict for row in compare_stages(STAGES, theirs, theirs, RULES, "HEAD")} == {EQUAL}
    ours = theirs | {"split": dataclasses.replace(theirs["split"], cmd="run split --otherwise")}
    with pytest.raises(CannotCompare, match=r"^dvc.yaml: the command of split is not that of HEAD: another exp"):
        compare_stages(STAGES, theirs, ours, RULES, "HEAD")


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (
            lock(),
            lock(params={"seed": 1, "workers": 2}),
            r"^params.yaml: train.seed is 1 here and 0 in HEAD: another exp",
        ),
        (
            lock(params={"a": 1, "b": {"c": 2}}),
            lock(params={"a": 1, "b": {}, "d": [1]}),
            r"train.b is {} here and absent",
        ),
        (lock(), lock(code__draw="other"), r"^code/draw: is not what draw read in HEAD: another experiment"),
        (lock(STAGES[:-2]), lock(), r"^dvc.lock of HEAD: has no report \(and 1 more\): another experiment"),
        (lock(), lock(STAGES[:3]), r"^dvc.lock: has no train@a \(and 4 more\); run `make repro`"),
    ],
)
def test_another_experiment_is_one_line(theirs: dict[str, Entry], ours: dict[str, Entry], message: str):
    with pytest.raises(CannotCompare, match=message) as caught:
        compare_stages(STAGES, theirs, ours, RULES, "HEAD")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_params_that_no_output_depends_on_are_no_other_experiment():
    rows = compare_stages(STAGES, lock(), lock(params={"seed": 0, "workers": 7}), RULES, "HEAD")
    assert {row.verdict for row in rows} == {EQUAL}


# -- scores ---------------------------------------------------------------------------------------------------------


def scores(**values: float) -> dict[tuple[str, str, str], dict[str, float]]:
    """Of two encoders on two metrics; a value by `encoder__metric`."""
    base = {"fabnet__yaw_mae_deg": 5.0, "fabnet__roll_mae_deg": 3.0, "hog__yaw_mae_deg": 8.0, "hog__roll_mae_deg": 4.0}
    found = {}
    for key, value in (base | values).items():
        encoder, _, metric = key.partition("__")
        found["faces", encoder, metric] = {"value": value, "low": base[key] - 0.2, "high": base[key] + 0.2, "n": 20.0}
    return found


def test_tolerances_against_the_formula_by_hand():
    rows = {(row.encoder, row.metric): row for row in compare_scores(scores(), scores(), RULES, "HEAD")}
    # 0.97 together over four scores: 0.9925 each, between -2.674 and 2.674 standard errors.
    error = 0.2 / 1.95996
    assert rows["fabnet", "yaw_mae_deg"].tolerance == pytest.approx(2.674 * math.hypot(0.3 * 2**0.5, error), rel=1e-3)
    unmeasured = 1.5 * error
    expected = 2.674 * math.hypot(unmeasured * 2**0.5, error)
    assert rows["fabnet", "roll_mae_deg"].tolerance == pytest.approx(expected, rel=1e-3)
    assert rows["hog", "yaw_mae_deg"].tolerance == pytest.approx(0.008)
    assert {row.verdict for row in rows.values()} == {"equal"}


def test_a_score_beyond_its_tolerance_is_outside_either_way():
    for change in (1.0, -1.0):
        found = scores(fabnet__yaw_mae_deg=5 + change * 1.1, fabnet__roll_mae_deg=3 + change * 0.3)
        verdict = {(row.encoder, row.metric): row.verdict for row in compare_scores(scores(), found, RULES, "HEAD")}
        assert verdict["fabnet", "yaw_mae_deg"] == "within"
        assert verdict["fabnet", "roll_mae_deg"] == "within"
        found = scores(fabnet__yaw_mae_deg=5 + change * 1.3, hog__yaw_mae_deg=8 + change * 0.01)
        verdict = {(row.encoder, row.metric): row.verdict for row in compare_scores(scores(), found, RULES, "HEAD")}
        assert verdict["fabnet", "yaw_mae_deg"] == "OUTSIDE"
        assert verdict["hog", "yaw_mae_deg"] == "OUTSIDE"
        assert verdict["hog", "roll_mae_deg"] == "equal"


def test_chance_alone_passes_and_another_encoder_does_not():
    """Scores that vary as `spread` says pass together in 97 % of repros; a network before training never does."""
    rules = VerifyRules(trained=("train",), spread={"yaw_mae_deg": 0.28})
    random = np.random.default_rng(0)
    names = [("faces", f"e{number}", "yaw_mae_deg") for number in range(56)]
    passed = 0
    for _ in range(300):
        theirs, ours = (random.normal(5, 0.28, 56) for _ in range(2))
        committed = {
            key: {"value": v, "low": v - 0.02, "high": v + 0.02, "n": 9.0} for key, v in zip(names, theirs, strict=True)
        }
        here = {key: {"value": v, "low": 0.0, "high": 0.0, "n": 9.0} for key, v in zip(names, ours, strict=True)}
        passed += all(row.within for row in compare_scores(committed, here, rules, "HEAD"))
    assert passed / 300 > 0.95
    committed[names[0]] = {"value": 5.0, "low": 4.7, "high": 5.3, "n": 9.0}  # as `fabnet` and `random` of metrics.json
    here[names[0]] = {"value": 10.5, "low": 10.0, "high": 11.0, "n": 9.0}
    assert not compare_scores(committed, here, rules, "HEAD")[0].within


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (
            {("faces", "new", "yaw_mae_deg"): {"n": 1}},
            r"metrics.json of HEAD: has no yaw_mae_deg of new on set faces: ano",
        ),
        ({("other", "hog", "yaw_mae_deg"): {"n": 1}}, r"metrics.json of HEAD: has no yaw_mae_deg of hog on set other"),
        (
            {("faces", "hog", "yaw_mae_deg"): {"value": 8.0, "n": 19.0}},
            r"hog on set faces is of 19 faces here and of 20 in",
        ),
    ],
)
def test_scores_of_something_else_are_one_line(ours: dict[Any, Any], message: str):
    with pytest.raises(CannotCompare, match=message):
        compare_scores(scores(), scores() | ours, RULES, "HEAD")
    with pytest.raises(
        CannotCompare, match=r"metrics.json of the working tree: has no roll_mae_deg of fabnet on set faces \("
    ):
        compare_scores(scores(), {}, RULES, "HEAD")


@pytest.mark.parametrize("damaged", ["[]", "{", '{"faces": {"hog": {"yaw_mae_deg": {"value": 1}}}}', '{"faces": 3}'])
def test_a_file_that_holds_no_scores_is_one_line(damaged: str):
    with pytest.raises(CannotCompare, match=r"^metrics.json: not the scores that `report` writes: ") as caught:
        parse_scores(damaged, "metrics.json")
    assert "\n" not in str(caught.value)


def test_the_committed_scores_are_read():
    found = parse_scores((ROOT / "metrics.json").read_text(), "metrics.json")
    rows = compare_scores(found, found, read_verify_rules(ROOT / "verify.yaml"), "HEAD")
    assert len(rows) == len(found) > 40
    assert all(row.verdict == "equal" for row in rows)
    # A network before training is no reproduction of FAb-Net, nor is the autoencoder of the one with three sources.
    for encoder, other in (("fabnet", "random"), ("fabnet_3src", "random"), ("fabnet_3src", "autoencoder")):
        for metric in ("yaw_mae_deg", "pose_mae_deg", "landmarks68_nme_pct"):
            (row,) = [row for row in rows if (row.encoder, row.metric) == (encoder, metric)]
            assert abs(found["synthetic", other, metric]["value"] - row.committed) > row.tolerance
    # That with one source, which the default trains for less, differs from the autoencoder in pose and landmarks.
    for metric in ("pose_mae_deg", "landmarks68_nme_pct"):
        (row,) = [row for row in rows if (row.encoder, row.metric) == ("fabnet", metric)]
        assert abs(found["synthetic", "autoencoder", metric]["value"] - row.committed) > row.tolerance


# -- rules ----------------------------------------------------------------------------------------------------------


def test_the_spread_is_that_of_the_study():
    """verify.yaml against docs/results/variants.json, by the formula in the docstring of studies/spread.py."""
    from studies.spread import VARIANTS, pooled

    variants = json.loads((ROOT / "docs/results/variants.json").read_text())["variants"]
    spread = read_verify_rules(ROOT / "verify.yaml").spread
    by_hand = {
        metric: math.sqrt(sum(statistics.stdev(variants[name][metric]["seeds"]) ** 2 for name in VARIANTS) / 3)
        for metric in variants["fabnet"]
    }
    assert pooled(variants, VARIANTS) == pytest.approx(by_hand)
    assert {metric: f"{value:.2f}" for metric, value in spread.items()} == {
        metric: f"{value:.2f}" for metric, value in by_hand.items()
    }, "run `python -m studies.spread` and put its lines into verify.yaml"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("trained: []", "trained: "),
        ("trained: [train]\nconfidence: 2", "confidence: "),
        ("trained: [train]\nspread: {yaw: 1}", "spread: no such metric as yaw; there are "),
        ("trained: [train]\nspread: {yaw_mae_deg: 0}", "spread.yaw_mae_deg: "),
        ("trained: [train]\nspred: {}", "spred: unknown key"),
        ("confidence: 0.9", "trained: Field required"),
        ("- 1", "must be a mapping with trained, not list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_rules_that_cannot_be(tmp_path: Path, written: str, message: str):
    (tmp_path / "verify.yaml").write_text(written)
    with pytest.raises(GatesError) as caught:
        read_verify_rules(tmp_path / "verify.yaml")
    assert f"verify.yaml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_that_are_absent(tmp_path: Path):
    with pytest.raises(GatesError, match=r"verify.yaml: no such file; it says what may differ between machines"):
        read_verify_rules(tmp_path / "verify.yaml")


# -- the verdict ----------------------------------------------------------------------------------------------------


def verified(ours: dict[str, float] | None = None, **changed: str) -> Verification:
    rows = compare_stages(STAGES, lock(), lock(**changed), RULES, "HEAD")
    return Verification(
        "HEAD", "0" * 40, "a processor", rows, compare_scores(scores(), scores(**(ours or {})), RULES, "HEAD")
    )


def test_a_repro_to_the_byte():
    done = verified()
    assert done.exit_code == 0
    assert summary(done) == ("REPRODUCED: 8 of 8 stages equal to the byte; 4 scores within tolerance")
    assert "git stash" not in text(done)  # nothing has changed


def test_a_repro_on_another_processor_says_what_to_do():
    done = verified({"fabnet__yaw_mae_deg": 5.3}, models__a="other", embeddings="other", reports__page="other")
    assert done.exit_code == 0
    assert summary(done).startswith(
        "REPRODUCED: 5 of 8 stages equal to the byte, others differ as training does; 4 sco"
    )
    lines = text(done).splitlines()
    assert "train@a  0 of 1         differs (as training does on another processor)" in lines
    assert "  git stash push dvc.lock metrics.json reports" in lines
    (row,) = [line for line in lines if " yaw_mae_deg " in line and "5.300" in line]
    assert row.split() == ["yaw_mae_deg", "5.000", "5.300", "+0.300", "1.167", "within"]
    assert max(map(len, lines)) <= 110


def test_what_is_not_reproduced():
    done = verified({"fabnet__yaw_mae_deg": 9.0}, data__splits="other")
    assert done.exit_code == 2
    assert done.reasons == [
        "split: data/splits should not differ",
        "faces: fabnet: yaw_mae_deg is 9.000, was 5.000, tolerance 1.167",
    ]
    assert summary(done) == "NOT REPRODUCED: split: data/splits should not differ (and 1 more)"
    page = markdown(done)
    assert "| split | 0 of 1 | differs: data should not |" in page
    assert "| fabnet | yaw_mae_deg | 5.000 | 9.000 | +4.000 | 1.167 | OUTSIDE |" in page
    whole = json.loads(json.dumps(as_json(done)))
    assert (whole["reproduced"], len(whole["stages"]), len(whole["scores"])) == (False, 8, 4)
    assert whole["scores"][1]["difference"] == 4


def test_the_table_of_this_project_is_not_too_wide():
    found = parse_scores((ROOT / "metrics.json").read_text(), "metrics.json")
    rows = compare_scores(found, found, read_verify_rules(ROOT / "verify.yaml"), "HEAD")
    lines = text(Verification("HEAD", "0" * 40, "a processor", [], rows)).splitlines()
    assert max(map(len, lines)) <= 110
    assert len([line for line in lines if line.startswith("fabnet ")]) == 1  # named once


def test_the_processor_is_named(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 sse avx512f\nmodel name\t: Other\n")
    assert processor(tmp_path / "cpuinfo") == "Some CPU (avx2, avx512f)"
    assert processor(tmp_path / "absent")
