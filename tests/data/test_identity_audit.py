"""No face track lies in two splits, of the pipeline's own data where they are, and one that does is found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import simplejpeg

from fabnet import tables
from fabnet.config import HealthParams
from fabnet.errors import UserError
from fabnet.files import write_json
from fabnet.frames.shards import TarWriter, member_name, merge, shard_name
from fabnet.frames.store import FrameStore
from fabnet.quality.duplicates import shared_tracks
from fabnet.quality.identity_audit import audit_identities, nearest, nearest_of_group, pixels, spread
from fabnet.retrieval.exact import unit
from tests.data.good_data import LIMITS

ROOT = Path(__file__).parents[2]
PEOPLE = {f"p{number}": split for number, split in enumerate(["train"] * 4 + ["validation"] * 2 + ["test"] * 2)}
SIZE, FRAMES = 16, 5

Tracks = dict[tuple[str, str], list[np.ndarray]]


def portrait(person: str, video: int, frame: int) -> np.ndarray:
    """A picture that is much the same for one person."""
    number = int(person[1:])
    seeds = (number, 100 + 10 * number + video, 10_000 + 100 * number + 10 * video + frame)
    face, place, noise = (np.random.default_rng(seed).normal(size=(SIZE, SIZE, 3)) for seed in seeds)
    return np.clip(128 + 40 * face + 12 * place + 6 * noise, 0, 255).astype(np.uint8)


def good() -> Tracks:
    return {
        (person, f"{person}/{video}/0"): [portrait(person, video, frame) for frame in range(FRAMES)]
        for person in PEOPLE
        for video in range(2)
    }


def write(root: Path, tracks: Tracks) -> FrameStore:
    part, out = root / "part", root / "frames"
    part.mkdir()
    out.mkdir()
    rows = []
    with open(part / shard_name(0), "wb") as file:
        tar = TarWriter(file)
        for (person, track), images in tracks.items():
            for number, image in enumerate(images):
                jpeg = simplejpeg.encode_jpeg(image, quality=95)
                offset = tar.add(member_name(track, number), jpeg)
                place = (number, float(number), shard_name(0), offset, len(jpeg), 0.0, 0.0, 8.0, 8.0, 1.0, 1.0)
                rows.append((track, person, "v", f"{track}.mp4", *place))
        tar.close()
    columns = list(tables.Index.to_schema().columns)
    index = pd.DataFrame(rows, columns=columns[: len(rows[0])]).reindex(columns=columns)  # others may be unknown
    tables.write(index, part / "index.parquet", tables.Index)
    merge([part], out, 1)
    write_json(out / "crop.json", {"size": SIZE})
    return FrameStore(out)


def judged(store: FrameStore, **audit):
    limits = {"shared": {"tracks": {"critical": {"high": 0}}}, "closest": {"suspects_pct": {"warning": {"high": 0}}}}
    chosen = {"frames": 2000, "pairs": 8, "seed": 0, "variant": None, **audit}
    params = HealthParams.model_validate({**LIMITS.model_dump(), "audit": chosen, **limits})
    verdict, pairs = audit_identities(store, PEOPLE, tables.SPLITS, {"pixels": pixels, "other": pixels}, params)
    return verdict.as_json(), pairs


# -- the pipeline's own data ----------------------------------------------------------------------------------------


def test_the_pipelines_splits_share_no_track():
    frames, splits = ROOT / "data/frames", ROOT / "data/splits.parquet"
    if not ((frames / "index.parquet").is_file() and splits.is_file()):
        pytest.skip("the pipeline has not run here")
    split_of = dict(tables.read(splits, tables.Splits).itertuples(index=False, name=None))
    table, names = shared_tracks(FrameStore(frames), split_of, tables.SPLITS)
    assert table["tracks"].tolist() == [0, 0, 0], names


def test_the_pipelines_audit_is_clean():
    told = ROOT / "reports/audit/pairs.json"
    if not told.is_file():
        pytest.skip("the stage `audit` has not run here")
    report = json.loads(told.read_text())
    assert report["healthy"]
    assert set(map(tuple, report["counts"]["shared_tracks"].values())) == {()}
    assert {pair["by"].partition(" ")[0] for pair in report["counts"]["pairs"]} == {"pixels", "embedding"}


# -- good and bad data ----------------------------------------------------------------------------------------------


def test_good_data_share_no_track(tmp_path):
    told, pairs = judged(write(tmp_path, good()), pairs=3)
    assert told["healthy"]
    assert told["failed_warning"] == 0
    assert told["counts"]["shared_tracks"] == {"train, validation": [], "train, test": [], "validation, test": []}
    assert told["counts"]["frames"] == {"train": 40, "validation": 20, "test": 20}
    assert [pair.view for pair in pairs] == ["pixels"] * 3 + ["other"] * 3


def _copied(tracks: Tracks) -> tuple[str, list[str]]:
    tracks["p6", "p6/9/0"] = tracks["p0", "p0/1/0"]
    return "train, test", ["p6/9/0"]


def _one_frame_copied(tracks: Tracks) -> tuple[str, list[str]]:
    tracks["p4", "p4/0/0"][3] = tracks["p2", "p2/1/0"][1]
    return "train, validation", ["p4/0/0"]


def _renamed_person(tracks: Tracks) -> tuple[str, list[str]]:
    for video in range(2):
        tracks["p7", f"p7/{video}/0"] = tracks["p5", f"p5/{video}/0"]
    return "validation, test", ["p7/0/0", "p7/1/0"]


@pytest.mark.parametrize("leak", [_copied, _one_frame_copied, _renamed_person])
def test_a_track_in_two_splits_is_found_and_named(tmp_path, leak):
    tracks = good()
    splits, names = leak(tracks)
    told, pairs = judged(write(tmp_path, tracks))
    assert not told["healthy"]
    assert {pair: found for pair, found in told["counts"]["shared_tracks"].items() if found} == {splits: names}
    assert told["limits"]["shared.tracks"]["critical"]["cases"] == [[splits, len(names)]]
    assert pairs[0].distance == pytest.approx(0, abs=1e-6)
    assert pairs[0].splits == splits


def test_one_name_under_two_identities_is_found(tmp_path):
    """No contract lets such an index pass; the audit does not rely on that."""
    store = write(tmp_path, good())
    names = store.tracks.names.to_pylist()
    names[names.index("p6/0/0")] = "p0/0/0"
    store.tracks = replace(store.tracks, names=pa.array(names, pa.string()))
    table, found = shared_tracks(store, PEOPLE, tables.SPLITS)
    assert found["train, test"] == ["p0/0/0"]
    assert table["tracks"].tolist() == [0, 1, 0]


def test_black_frames_are_of_nobody(tmp_path):
    tracks = good()
    for key in (("p0", "p0/0/0"), ("p7", "p7/1/0")):
        tracks[key][2] = np.zeros((SIZE, SIZE, 3), np.uint8)
    told, pairs = judged(write(tmp_path, tracks))
    assert told["healthy"]
    assert pairs[0].distance > 0.1


def test_a_person_of_two_names_is_suspected(tmp_path):
    """Other frames of one person, under another name in another split: no bytes are shared, and still it is told."""
    tracks = good()
    for video in range(2):
        tracks["p7", f"p7/{video}/0"] = [portrait("p1", video, 5 + frame) for frame in range(FRAMES)]
    told, _ = judged(write(tmp_path, tracks))
    assert told["healthy"]  # no track is shared ...
    cases = dict(map(tuple, told["limits"]["closest.suspects_pct"]["warning"]["cases"]))
    assert cases.keys() == {"pixels train, test", "other train, test"}
    first = told["counts"]["pairs"][0]  # ... but these two people are the first that are shown
    assert (first["frame"]["identity"], first["nearest"]["identity"], first["splits"]) == ("p7", "p1", "train, test")


def test_an_identity_without_a_split(tmp_path):
    store = write(tmp_path, good() | {("p8", "p8/0/0"): [portrait("p8", 0, 0)]})
    with pytest.raises(UserError, match="identity p8 has no split"):
        judged(store)


# -- the search -----------------------------------------------------------------------------------------------------


def test_pairs_are_the_closest_of_a_naive_search(tmp_path):
    store = write(tmp_path, good())
    _, pairs = judged(store, pairs=4)
    vectors = unit(pixels(store.decode(range(store.frame_count)))).astype(np.float64)
    person = [store.tracks.identities[i] for i in np.repeat(store.tracks.identity, store.tracks.length)]
    best: dict[tuple[str, str], float] = {}
    for i, query in enumerate(vectors):
        for split in tables.SPLITS[: tables.SPLITS.index(PEOPLE[person[i]])]:
            others = [j for j in range(len(vectors)) if PEOPLE[person[j]] == split]
            distance, j = min((1 - query @ vectors[j], j) for j in others)
            best[person[i], person[j]] = min(best.get((person[i], person[j]), 9), distance)
    found = [pair.distance for pair in pairs if pair.view == "pixels"]
    assert found == pytest.approx(sorted(best.values())[:4], abs=1e-6)
    for pair in pairs:
        own = [j for j in range(len(vectors)) if person[j] == person[pair.frame] and j != pair.frame]
        assert pair.own_distance == pytest.approx(min(1 - vectors[pair.frame] @ vectors[j] for j in own), abs=1e-6)


def test_the_sample_is_seeded_and_bounded(tmp_path):
    store = write(tmp_path, good())
    told, _ = judged(store, frames=2, seed=1)
    assert told["counts"]["frames"] == {"train": 2, "validation": 2, "test": 2}
    assert judged(store, frames=2, seed=1)[0] == told
    assert judged(store, frames=2, seed=2)[0] != told


@pytest.mark.parametrize("block", [3, 7, 1024])
def test_search_in_blocks_is_the_naive_one(monkeypatch, block):
    monkeypatch.setattr("fabnet.quality.identity_audit._BLOCK", block)
    rng = np.random.default_rng(0)
    a, b = (unit(rng.normal(size=(count, 6))) for count in (11, 17))
    table = 1 - a.astype(np.float64) @ b.T.astype(np.float64)
    row, distance = nearest(a, b)
    assert row.tolist() == table.argmin(axis=1).tolist()
    np.testing.assert_allclose(distance, table.min(axis=1), atol=1e-6)
    group = rng.integers(0, 3, 17)
    among = 1 - b.astype(np.float64) @ b.T.astype(np.float64)
    own, away = nearest_of_group(b, group)
    masked = np.where((group[:, None] == group) & ~np.eye(17, dtype=bool), among, np.inf)
    assert own.tolist() == masked.argmin(axis=1).tolist()
    np.testing.assert_allclose(away, masked.min(axis=1), atol=1e-6)
    pairs = spread(b, group)
    i, j = np.triu_indices(17, 1)
    expected = among[i, j][group[i] == group[j]]
    assert pairs.counts.sum() == len(expected)
    assert pairs.quantiles([0, 1]) == pytest.approx([expected.min(), expected.max()], abs=1e-4)


def test_who_has_no_other_frame_has_no_yardstick():
    vectors = unit(np.eye(3))
    for row, distance in (nearest_of_group(vectors, np.arange(3)), nearest(vectors, vectors[:0])):
        assert row.tolist() == [-1] * 3
        assert np.isinf(distance).all()
    assert unit(np.zeros((1, 4))).tolist() == [[0, 0, 0, 0]]
