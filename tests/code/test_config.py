from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from committed import committed_values
from hypothesis import given
from hypothesis import strategies as st

from fabnet.config import (
    CurriculumParams,
    EncoderParams,
    Limits,
    Params,
    Range,
    SetParams,
    SplitParams,
    VariantParams,
    load_params,
    parse_params,
)
from fabnet.config.data import STANDALONE
from fabnet.config.params import parse_yaml
from fabnet.config.section import RESERVED, Section
from fabnet.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def values() -> dict[str, Any]:
    """The committed params as a plain mapping."""
    return committed_values()


def place(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        values = values[part]
    values[last] = value


def test_params_of_the_checkout_are_valid():
    assert load_params(ROOT / "params.yaml").train.variants


@pytest.mark.parametrize(
    ("key", "value", "named", "why"),
    [
        ("extract.fsp", 2, "extract.fsp", "unknown key"),
        ("extrakt", {}, "extrakt", "unknown key"),
        ("synthesize.videos.identites", 3, "synthesize.videos.identites", "unknown key"),
        ("train.common.oops", 1, "train.common.oops", "unknown key"),
        ("train.variants.fabnet", {"oops": 1}, "train.variants.fabnet.oops", "unknown key"),
        ("split.train", 80, "split", "must be 100 percent, not 105"),
        ("split.test", 0, "split.test", "greater than 0"),
        ("extract.image_size", 48, "extract.image_size", "must be a power of two"),
        ("extract.image_size", 2048, "extract.image_size", "less than or equal to 1024"),
        ("extract.image_size", "big", "extract.image_size", "'big'"),
        ("extract.fps", 0, "extract.fps", "greater than 0"),
        ("extract.fps", float("nan"), "extract.fps", "finite"),
        ("extract.source", "boxes", "extract", "`boxes` names the table"),
        ("extract.boxes", "boxes.csv", "extract", "`boxes` names the table"),
        ("extract", {**STANDALONE, "videos": "clips", "clips": "clips.csv"}, "extract", "must lie below `videos`"),
        ("extract.min_frames", 1, "extract.min_frames", "greater than or equal to 2"),
        ("synthesize.image_size", 95, "synthesize.image_size", "must be even"),
        ("train.common.samples", 0, "train.common.samples", "greater than 0"),
        ("train.common.learning_rate", float("inf"), "train.common.learning_rate", "finite"),
        ("train.variants.fabnet", {"optimiser": "adamw"}, "train.variants.fabnet.optimiser", "'adamw'"),
        ("train.variants", {}, "train.variants", "at least 1"),
        ("train.variants", {"Big Name": {}}, "train.variants.Big Name", "pattern"),
        ("sets.synthetic.kind", "mafia", "sets.synthetic.kind", "'mafia'"),
        ("probe.ridge_alphas", [], "probe.ridge_alphas", "at least 1"),
        ("probe.ridge_alphas", [-1], "probe.ridge_alphas.0", "greater than 0"),
        ("report.bootstrap", 10, "report.bootstrap", "greater than or equal to 100"),
        ("report.runs", "mlflow.example.org", "report.runs", "should match pattern"),
        (
            "health.tracks.brightnes",
            {},
            "health.tracks.brightnes",
            "no such measure of tracks; there are frames, bright",
        ),
        ("health.tracks.side.warning.hi", 9, "health.tracks.side.warning.hi", "unknown key"),
        ("train.variants.vgg11", {}, "train.variants.vgg11", "is the name of a baseline"),
        (
            "sets",
            {"mine": {"kind": "aflw2000", "path": "x", "embeddings": {"vgg11": "x.npy"}}},
            "sets.mine",
            "embeddings.vgg11 is the name of a baseline; choose another one",
        ),
    ],
)
def test_impossible_value_is_one_line_that_names_the_key(
    values: dict[str, Any], key: str, value: Any, named: str, why: str
):
    place(values, key, value)
    with pytest.raises(ConfigError) as caught:
        parse_params(values, "params.yaml")
    message = str(caught.value)
    assert message.startswith(f"params.yaml: {named}: ")
    assert why in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("key", "value", "named", "advice"),
    [
        ("extract.size", 64, "extract.size", "it is called extract.image_size now"),
        ("supervise.size", None, "supervise.size", "it is called supervise.image_size now"),
        ("mine", {"deep": [1, {"size": 3}]}, "mine.deep.1.size", "choose another name"),
        ("nfiles", 3, "nfiles", "choose another name"),
        ("train.variants.size", {}, "train.variants.size", "choose another name"),
        ("train.finetuned.nfiles", {"start_from": "fabnet"}, "train.finetuned.nfiles", "choose another name"),
        ("sets.size", {"kind": "synthetic", "path": "faces"}, "sets.size", "choose another name"),
        ("sets.synthetic.embeddings", {"nfiles": "e.npy"}, "sets.synthetic.embeddings.nfiles", "choose another name"),
        ("sets.synthetic.columns", {"size": "width"}, "sets.synthetic.columns.size", "choose another name"),
    ],
)
def test_a_key_that_the_run_cache_does_not_see_is_refused(
    values: dict[str, Any], key: str, value: Any, named: str, advice: str
):
    place(values, key, value)
    with pytest.raises(ConfigError) as caught:
        parse_params(values, "params.yaml")
    message = str(caught.value)
    assert message.startswith(f"params.yaml: {named}: {advice}; DVC does not see")
    assert "\n" not in message


def sections(kind: Any) -> Iterator[type[Section]]:
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
        for field in kind.model_fields.values():
            yield from sections(field.annotation)
    for inner in get_args(kind):
        yield from sections(inner)


def every_model() -> set[type[Section]]:
    # Variants are overlays of plain values in TrainParams; their model is reached through no field.
    return {*sections(Params), *sections(VariantParams)}


def test_no_model_has_a_key_that_the_run_cache_does_not_see():
    """DVC 3.67.1 leaves them out of the run cache's key at any depth (upstream issue 10296)."""
    seen = every_model()
    assert {"Params", "ExtractParams", "DetectionParams", "SuperviseParams", "Range", "VariantParams"} <= {
        each.__name__ for each in seen
    }
    named = {f"{each.__name__}.{field}" for each in seen for field in each.model_fields if field in RESERVED}
    assert not named
    aliases = {field.alias for each in seen for field in each.model_fields.values()}
    assert aliases == {None}, "an alias is what params.yaml says: look at it too"


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}".lstrip("."))
    else:
        yield key, value


def meaning(values: dict[str, Any]) -> str:
    """What stages get to see of params, as text in which 1, 1.0 and True differ."""
    params = parse_params(values)
    others = {name: getattr(params, name) for name in Params.model_fields if name != "train"}
    return repr((others, [params.train.variant(name) for name in params.train.names]))


def test_values_that_dvc_takes_for_equal_mean_the_same(values: dict[str, Any]):
    """DVC 3.67.1 sees no change from 1 to 1.0 or true (findings/dvc-takes-1-and-true-for-one-value.sh)."""
    expected = meaning(values)
    accepted = refused = 0
    for key, value in leaves(values):
        if isinstance(value, bool | int | float):
            for other in {kind(value) for kind in (bool, int, float) if kind(value) == value}:
                place(values, key, other)
                try:
                    assert meaning(values) == expected, (key, other)
                    accepted += 1
                except ConfigError:
                    refused += 1  # which no run is skipped for
            place(values, key, value)
    assert accepted > 50


def test_numbers_as_dvc_writes_them_are_numbers(values: dict[str, Any]):
    """DVC writes 1e-05, text to PyYAML 6.0.3 (findings/dvc-writes-numbers-that-pyyaml-reads-as-text.sh)."""
    read = parse_yaml("learning_rate: 1e-05\nsamples: 100", "params.yaml")
    assert isinstance(read["learning_rate"], str)  # else the finding is no more
    values["train"]["common"] |= read
    assert parse_params(values).train.variant("fabnet").learning_rate == 0.00001
    for model in every_model():
        for name, field in model.model_fields.items():
            # Where text is legal as well as numbers, the one would not become the other.
            kinds = {field.annotation, *get_args(field.annotation)}
            assert not (kinds & {float, int} and str in kinds), (model.__name__, name)


def test_every_key_has_a_description():
    lacking = {
        f"{model.__name__}.{name}"
        for model in every_model()
        for name, field in model.model_fields.items()
        if not (field.description or "").strip()
    }
    assert lacking == set()


#: Models of entries that params.yaml need not have, whose keys may be left out.
OPTIONAL = {SetParams, EncoderParams, CurriculumParams, Limits, Range}


def test_what_params_yaml_holds_has_no_default_elsewhere(values: dict[str, Any]):
    defaults = {
        f"{model.__name__}.{name}"
        for model in every_model() - OPTIONAL
        for name, field in model.model_fields.items()
        if not field.is_required()
    }
    assert defaults == set()
    # The one exception, for commands that have no params.yaml.
    assert {**STANDALONE, "videos": values["extract"]["videos"]} == values["extract"]


def test_defaults_of_optional_keys_contradict_no_entry_of_params_yaml(values: dict[str, Any]):
    train = values["train"]
    variants = [train["common"], *train["variants"].values(), *train["finetuned"].values()]
    entries: list[tuple[type[Section], dict[str, Any]]] = [
        *((SetParams, entry) for entry in values["sets"].values()),
        *((CurriculumParams, entry["curriculum"]) for entry in variants if entry.get("curriculum")),
    ]
    for model, entry in entries:
        for name in entry:
            field = model.model_fields[name]
            # A default of null is no value that an entry could contradict.
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            assert default is None or default == entry[name], (model, name)
    # What a limit leaves out restricts nothing.
    limits = {name: field.default for model in (Limits, Range) for name, field in model.model_fields.items()}
    assert limits == {"critical": None, "warning": None, "low": None, "high": None, "share": 1}


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("train.common.samples", "is missing; add it (whole number, above 0): the training budget: samples seen"),
        ("train.common.curriculum", "is missing; add it (a section or null): learn from a window"),
        ("extract.fps", "is missing; add it (number, above 0, at most 240): sampled frames per second"),
        ("extract.detection.every", "is missing; add it (whole number, above 0): detect in every k-th decoded frame"),
        ("extract.clips", "is missing; add it (path or null): cropped, boxes, folder: CSV"),
        ("health.tracks", "is missing; add it (mapping): limits of each track"),
        ("probe.shares", "is missing; add it (list of: number, above 0, below 1): fractions of the training faces"),
        ("sets.synthetic.path", "is missing; add it (path): folder of the set's files"),
        ("supervise.precision", "is missing; add it (`bf16` or `fp32`): number format"),
        ("report", "is missing; add it (a section): intervals, comparisons and slices"),
    ],
)
def test_missing_key_is_named_and_explained(values: dict[str, Any], key: str, advice: str):
    inner = values
    *parents, last = key.split(".")
    for part in parents:
        inner = inner[part]
    del inner[last]
    with pytest.raises(ConfigError) as caught:
        parse_params(values, "params.yaml")
    assert str(caught.value).startswith(f"params.yaml: {key}: {advice}")
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_told_before_the_one_that_it_should_be(values: dict[str, Any]):
    values["extract"]["fsp"] = values["extract"].pop("fps")
    with pytest.raises(ConfigError, match=r"^params: extract\.fsp: unknown key; is it misspelt\? \(and 1 more\)$"):
        parse_params(values)


def test_several_problems_are_counted(values: dict[str, Any]):
    place(values, "extract.fps", -1)
    place(values, "embed.batch_size", -1)
    with pytest.raises(ConfigError, match=r"extract\.fps: .* \(and 1 more\)$"):
        parse_params(values)


@given(st.integers(1, 98).flatmap(lambda train: st.tuples(st.just(train), st.integers(1, 99 - train))))
def test_any_split_that_sums_to_100_is_legal(shares: tuple[int, int]):
    train, validation = shares
    split = SplitParams(seed=0, train=train, validation=validation, test=100 - train - validation)
    assert split.train + split.validation + split.test == 100


@given(st.tuples(*[st.integers(1, 99)] * 3).filter(lambda shares: sum(shares) != 100))
def test_no_other_split_is(shares: tuple[int, int, int]):
    with pytest.raises(ValueError, match=f"not {sum(shares)}"):
        SplitParams(seed=0, train=shares[0], validation=shares[1], test=shares[2])


def test_variant_is_common_overlaid(values: dict[str, Any]):
    values["train"]["common"] |= {"samples": 1000, "flip": True}
    values["train"] |= {"variants": {"fabnet": {"flip": False}, "autoencoder": {}}, "finetuned": {}}
    train = parse_params(values).train
    assert (train.variant("fabnet").samples, train.variant("fabnet").flip) == (1000, False)
    assert train.variant("autoencoder").flip is True
    with pytest.raises(ConfigError, match=r"train\.variants\.nope: no such variant; there are fabnet, "):
        train.variant("nope")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2\n", "must be a mapping of sections, not list"),
        ("", "not NoneType"),
        ("{}", "not an empty one"),
    ],
)
def test_file_that_is_no_mapping(tmp_path: Path, text: str, why: str):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_file(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        load_params(tmp_path / "absent.yaml")
