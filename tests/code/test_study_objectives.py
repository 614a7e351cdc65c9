"""The study of objectives: what candidates change, what a sample costs, neighbours, and its page."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from small_shards import write_small_shards
from whole_sections import variant_params

from fabnet.files import read_json
from studies import objectives
from studies.learning_speed import METRICS as BY_FOLDS
from studies.variants import METRICS, load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", objectives.CANDIDATES)
def test_a_candidate_is_the_reference_but_for_what_it_changes(name):
    params = load(None)
    ours, theirs = (objectives.recipe(params, each, 3).model_dump() for each in (name, objectives.REFERENCE))
    changes = {key: value for key, value in objectives.CANDIDATES[name].items() if key != "loss"}
    assert {key: value for key, value in ours.items() if value != theirs[key]} == changes
    assert ours["seed"] == 3


def test_both_variants_have_as_many_numbers_in_an_embedding():
    reference, ours = (objectives.recipe(load(None), name, 0) for name in (objectives.REFERENCE, objectives.VARIANT))
    assert ours.embedding_dim == reference.embedding_dim == 256


def test_a_sample_of_more_views_costs_more(tmp_path, monkeypatch):
    write_small_shards(tmp_path, 32)
    monkeypatch.setattr(objectives, "FRAMES", tmp_path / "frames")
    monkeypatch.setattr(objectives, "SPLITS", tmp_path / "splits.parquet")
    monkeypatch.setattr(objectives, "WORK", tmp_path)
    small = {"embedding_dim": 16, "batch_size": 4, "workers": 0, "objective": "fabnet"}
    views = {"few": 2, "many": 5}
    monkeypatch.setattr(objectives, "recipe", lambda _, name, seed: variant_params(**small, views=views[name]))
    found = objectives.measured_costs(load(None), ["few", "many"], 0.5)
    assert 0 < found["few"] < found["many"]
    monkeypatch.setattr(objectives, "costs", None)
    assert objectives.measured_costs(load(None), ["many"], 0.5) == {"many": found["many"]}
    with pytest.raises(TypeError):  # of another share, other recipes are measured together
        objectives.measured_costs(load(None), ["many"], 1.0)


def test_own_person_is_what_a_library_finds():
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(12), 5)
    embedding = rng.normal(size=(60, 8)) + 0.8 * rng.normal(size=(12, 8))[person]
    library = NearestNeighbors(n_neighbors=11, metric="cosine").fit(embedding)
    others = library.kneighbors(embedding, return_distance=False)[:, 1:]
    expected = 100 * (person[others] == person[:, None]).mean(axis=1)
    np.testing.assert_allclose(objectives.own_person(embedding, person), expected)
    assert 0 < expected.mean() < 40


CELL = {"value": 1.0, "low": 0.5, "high": 1.5, "seeds": [0.9, 1.1]}


def test_the_page_tells_seeds_intervals_and_cost():
    both = (objectives.REFERENCE, objectives.VARIANT)
    told = {
        "processor": "a processor",
        "seeds": [0, 1],
        "cost_ms": {both[0]: 10.0, both[1]: 9.0},
        "samples": {both[0]: 1080, both[1]: 1200},
        "cpu_s": {both[0]: [11.2, 12.0], both[1]: [11.0, 10.4]},
        "test": {
            "variants": dict.fromkeys(both, dict.fromkeys(METRICS, CELL)),
            "differences": {f"{both[1]} - {both[0]}": dict.fromkeys(METRICS, CELL)},
            "columns": {both[0]: {"AU1": [70.0, 72.0]}, both[1]: {"AU1": [73.0, 76.0]}},
            "own_person_pct": dict.fromkeys(both, CELL),
        },
    }
    page = objectives.markdown(told)
    assert "| AU1 | 71.0 | 74.5 | +3.5 (+3.0, +4.0) |" in page
    assert (
        "1,080 samples of 10.0 ms (`fabnet_3src`; 11, 12 CPU s) and 1,200 samples of 9.0 ms (`fabnet_next`; 11, 10 "
        "CPU s)" in page
    )


def test_candidates_have_their_changes_cost_and_differences():
    names = (objectives.REFERENCE, "stride_4")
    # As `bootstrap` orders metrics, which is not the order of the columns.
    cells = {metric: CELL | {"value": float(at)} for at, metric in reversed(list(enumerate(BY_FOLDS)))}
    told = {
        "processor": "a processor",
        "seeds": [0, 1],
        "share": 0.25,
        "cost_ms": {names[0]: 10.0, names[1]: 8.0},
        "samples": {names[0]: 1200, names[1]: 1500},
        "below_copying_pct": {name: [20.0, 21.0] for name in names},
        "folds": {
            "variants": dict.fromkeys(names, cells),
            "differences": {f"{names[1]} - {names[0]}": cells},
        },
    }
    page = objectives.candidates_page(told)
    assert "| stride_4 | 0.00 [0.50, 1.50] (0.90, 1.10) | 1.00 [0.50, 1.50] (0.90, 1.10) |" in page
    assert "| stride_4 - fabnet_3src | **+0.00** [+0.50, +1.50] (+0.90, +1.10) |" in page
    assert "| `stride_4` | flow_stride: 4 | 0.80 | 1,500 | 20.0, 21.0 |" in page
    assert "25% of the CPU seconds" in page


@pytest.mark.parametrize("other", ["stride_4", objectives.VARIANT])
@pytest.mark.parametrize(("share", "folder"), [(0.5, "share-0.5/seed-1"), (1.0, "seed-1")])
def test_all_see_what_takes_the_same_time(monkeypatch, tmp_path, other, share, folder):
    asked = []
    monkeypatch.setattr(objectives, "WORK", tmp_path)
    monkeypatch.setattr(objectives, "measured_costs", lambda *_: {"fabnet_3src": 0.02, other: 0.01})
    monkeypatch.setattr(objectives, "train_once", lambda name, values, *_: asked.append((name, values.samples, _[-1])))
    monkeypatch.setattr(objectives, "ask", lambda *_: None)
    objectives.train_seed(load(None), ["fabnet_3src", other], 1, share)
    assert asked == [
        ("fabnet_3src", share * 19200, tmp_path / folder / "fabnet_3src"),
        (other, share * 38400, tmp_path / folder / other),
    ]


def test_the_readme_tells_what_was_measured():
    told = read_json(ROOT / "docs/results/objectives.json")
    by, own = (
        told["test"]["differences"][f"{objectives.VARIANT} - {objectives.REFERENCE}"],
        told["test"]["own_person_pct"],
    )
    said = (
        f"reads AUs {by['units_auc']['value']:.1f} and expression {by['expression_auc']['value']:.1f} points better "
        f"than `{objectives.REFERENCE}` in as many CPU seconds",
        f"of its nearest neighbours {own[objectives.VARIANT]['value']:.1f} % are the query's own person, of those of "
        f"`{objectives.REFERENCE}` {own[objectives.REFERENCE]['value']:.1f} %",
    )
    readme = " ".join((ROOT / "README.md").read_text().split())
    for each in said:
        assert each in readme
