"""Nearest neighbours among a million embeddings, exact and by HNSW against faiss, and among ten million in float16.

Vectors are synthetic: a mixture of clusters that overlap in a space of few dimensions, with a little noise around it.
(Among independent Gaussian numbers all distances are alike, and no index is of use.) How hard that is for an index is
measured by its intrinsic dimension, beside that of the embeddings of faces in the working tree. Every step runs in a
process of its own. `make bench`, or, with a record in docs/benchmarks:

    python -m benchmarks.search --out docs/benchmarks/2026-11-23-search.md
"""

import argparse
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._memory import peak_mb

ROWS, HALF_ROWS, DIMENSION, K, THREADS = 1_000_000, 10_000_000, 256, 10, 2
BATCHES, HALF_QUERIES = (1, 2, 10, 100, 1000), 256
CLUSTERS, INNER, NOISE, SEED = 2000, 24, 0.02, 2018
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
RECALL = 0.99
_REPEATS = 5
_FACES = Path("embeddings/synthetic/trained")
#: Rows of a seed: those of a slice do not depend on how the slices are cut.
_SEEDED = 1 << 14


class Mixture:
    """A gallery (rows, DIMENSION) whose rows are made when they are read."""

    def __init__(self, rows: int, stream: int = 0) -> None:
        random = np.random.default_rng(SEED)
        self.shape = rows, DIMENSION
        self._stream = stream
        self._centres = random.standard_normal((CLUSTERS, INNER), np.float32)
        self._space = random.standard_normal((INNER, DIMENSION), np.float32) / np.float32(np.sqrt(INNER))

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        first, end, _ = rows.indices(self.shape[0])
        blocks = [self._block(number) for number in range(first // _SEEDED, -(-end // _SEEDED))]
        begin = first // _SEEDED * _SEEDED
        return np.concatenate(blocks)[first - begin : end - begin]

    def _block(self, number: int) -> NDArray[np.float32]:
        random = np.random.default_rng((SEED, self._stream, number))
        inner = self._centres[random.integers(0, CLUSTERS, _SEEDED)]
        vectors = (inner + random.standard_normal((_SEEDED, INNER), np.float32)) @ self._space
        # Noise of a few thousand rows serves all: it would be most of the time otherwise.
        noise = np.random.default_rng((SEED, number % 4)).standard_normal((_SEEDED, DIMENSION), np.float32)
        return vectors + NOISE * noise


def queries(count: int) -> NDArray[np.float32]:
    """Vectors of the same mixture that are not in the gallery."""
    from fabnet.retrieval.exact import unit

    return unit(Mixture(count, stream=1)[:count])


def intrinsic_dimension(vectors_ND: NDArray[np.floating]) -> float:
    """By the ratio of the distances to the two nearest others: Facco et al., Scientific Reports 7 (2017), TwoNN."""
    from fabnet.retrieval.exact import Alike, search, unit

    vectors, own = unit(vectors_ND), np.arange(len(vectors_ND))
    similarity = search(vectors, vectors, 2, [Alike(own, own)]).similarity.astype(np.float64)
    apart = np.sqrt(np.maximum(2 - 2 * similarity, 1e-12))
    ratio = np.sort(apart[:, 1] / apart[:, 0])[: int(0.9 * len(own))]  # the largest are outliers
    x, y = np.log(ratio), -np.log1p(-np.arange(1, len(ratio) + 1) / len(own))
    return float((x @ y) / (x @ x))


def dimensions() -> dict[str, float]:
    """Of the mixture, and of as many embeddings of faces by each encoder as there are."""
    _use_threads()
    galleries = {path.parent.name: np.load(path) for path in sorted(_FACES.glob("*/embeddings.npy"))}
    count = min([5000, *map(len, galleries.values())])
    galleries["this mixture"] = Mixture(count)[:count]
    return {name: intrinsic_dimension(vectors[:count]) for name, vectors in galleries.items()}


def build(folder: Path, rows: int, half: bool, ann: bool) -> dict[str, Any]:
    """Write an index of a mixture, as `fabnet index build` does."""
    import pandas as pd

    from fabnet.retrieval.ann import builder
    from fabnet.retrieval.index import write_index
    from fabnet.tables import IndexRows

    _use_threads()
    table = pd.DataFrame({"id": pd.Series(np.arange(rows)).astype("str")})
    for name, column in IndexRows.to_schema().columns.items():
        if name != "id":
            table[name] = pd.Series([None], dtype=str(column.dtype)).repeat(rows).to_numpy()
            table[name] = table[name].astype(str(column.dtype))
    spent = {}

    def timed(vectors: Any, path: Path) -> dict[str, Any]:
        started = time.perf_counter()
        said = builder("hnsw")(vectors, path)
        spent["hnsw_s"] = time.perf_counter() - started
        return said

    started = time.perf_counter()
    index = write_index(folder, Mixture(rows), table, {}, "a mixture", half, timed if ann else None)
    seconds = time.perf_counter() - started - spent.get("hnsw_s", 0.0)
    sizes = {name: said["bytes"] for name, said in index.about["files"].items()}
    return {"seconds": seconds, "sizes": sizes, "peak_mb": peak_mb(), **spent}


def compare(folder: Path) -> dict[str, Any]:
    """Exact search against faiss IndexFlatIP, the same batches in turn, and HNSW at the least effort for RECALL."""
    from fabnet.retrieval import ann, exact
    from fabnet.retrieval.index import read_index

    _use_threads()
    faiss = ann.load_faiss()
    index = read_index(folder)
    flat = faiss.IndexFlatIP(DIMENSION)
    for first in range(0, len(index.vectors), 1 << 16):
        flat.add(np.ascontiguousarray(index.vectors[first : first + (1 << 16)]))
    exact_rows = []
    reference = None
    for size in BATCHES:
        asked = queries(size)
        ours, theirs, same = [], [], 0.0
        for _ in range(_REPEATS):
            spent, found = _timed(exact.search, index.vectors, asked, K)
            ours.append(spent)
            spent, (similarity, rows) = _timed(flat.search, asked, K)
            theirs.append(spent)
            same = float((found.rows == rows).mean())
            np.testing.assert_allclose(found.similarity, similarity, atol=1e-5)
        exact_rows.append({"queries": size, "ours_s": min(ours), "faiss_s": min(theirs), "same": same})
        reference = found
    assert reference is not None
    assert index.ann is not None
    part = ann.read(index.ann, *index.vectors.shape)
    asked = queries(BATCHES[-1])
    tried = []
    for effort in EFFORTS:
        ann.search_ann(part, asked, K, (), effort)  # the first run reads from disk
        spent, found = _timed(ann.search_ann, part, asked, K, (), effort)
        one, _ = _timed(lambda each: [ann.search_ann(part, asked[i : i + 1], K, (), each) for i in range(100)], effort)
        tried.append({"effort": effort, "recall": ann.share(reference, found), "s": spent, "one_s": one / 100})
        if tried[-1]["recall"] >= RECALL:
            break
    return {"exact": exact_rows, "hnsw": tried}


def search_half(folder: Path) -> dict[str, Any]:
    """Exact search of the mapped float16 index: what one who searches it holds in memory."""
    from fabnet.retrieval import exact
    from fabnet.retrieval.index import read_index

    _use_threads()
    index = read_index(folder)
    asked = queries(HALF_QUERIES)
    before = peak_mb()
    seconds, found = _timed(exact.search, index.vectors, asked, K)
    assert (found.rows >= 0).all()
    one, _ = _timed(exact.search, index.vectors, asked[:1], K)
    names = index.take(found.rows.ravel())["id"]
    assert len(names) == found.rows.size
    return {"seconds": seconds, "one_s": one, "before_mb": before, "peak_mb": peak_mb()}


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - started, result


def _use_threads() -> None:
    import torch

    from fabnet.retrieval.ann import load_faiss

    torch.set_num_threads(THREADS)
    load_faiss().omp_set_num_threads(THREADS)


def apart(step: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a step in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        seconds, result = _timed(pool.apply, step, arguments)
    print(f"{step.__name__}: {seconds:.0f} s", file=sys.stderr, flush=True)
    return result


def record(rows: int, half_rows: int) -> str:
    """Run everything, and return the record."""
    started = time.perf_counter()
    # Threads of torch and of faiss that wait for work would otherwise take the cores from each other.
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(THREADS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dimension = apart(dimensions)
        built = apart(build, folder / "whole", rows, False, True)
        compared = apart(compare, folder / "whole")
        half = apart(build, folder / "half", half_rows, True, False)
        searched = apart(search_half, folder / "half")
    return _written(rows, half_rows, dimension, built, compared, half, searched, time.perf_counter() - started)


def _written(
    rows: int,
    half_rows: int,
    dimension: dict[str, float],
    built: dict[str, Any],
    compared: dict[str, Any],
    half: dict[str, Any],
    searched: dict[str, Any],
    seconds: float,
) -> str:
    from fabnet.retrieval.ann import LINKS, load_faiss

    exact = compared["exact"]
    batch, last = exact[-1], compared["hnsw"][-1]
    single = next(each for each in exact if each["queries"] == 1)
    reached = "reached" if last["recall"] >= RECALL else f"NOT reached, {last['recall']:.3f} is the most that was tried"
    lines = [
        f"# Searching embeddings, {time.strftime('%-d %B %Y')}",
        "",
        f"`benchmarks/search.py` on {THREADS} threads ({platform.machine()}), faiss {load_faiss().__version__}, in one "
        f"run of {seconds / 60:.1f} minutes. {K} neighbours, {DIMENSION} numbers.",
        "",
        f"The gallery is a mixture of {CLUSTERS:,} clusters that overlap in a space of {INNER} dimensions, with noise "
        "around it: among independent Gaussian numbers all distances are alike, and no index is of use. Queries are "
        "other vectors of the same mixture. Intrinsic dimension (TwoNN): "
        + ", ".join(f"{name} {value:.1f}" for name, value in dimension.items())
        + ". The larger, the harder for an index.",
        "",
        f"## Exact search, {rows:,} rows in float32",
        "",
        f"Best of {_REPEATS}, ours and faiss in turn, in one process. Ours reads the mapped file of the index; faiss "
        "holds a copy in memory.",
        "",
        "| queries at a time | ours, s | faiss IndexFlatIP, s | ours / faiss | ours, queries/s | same rows |",
        "|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {each['queries']:,} | {each['ours_s']:.3f} | {each['faiss_s']:.3f} | "
            f"{each['ours_s'] / each['faiss_s']:.2f} | {each['queries'] / each['ours_s']:,.0f} | "
            f"{100 * each['same']:.2f} % |"
            for each in exact
        ),
        "",
        "Asked for: at most 1.2 at the same batch; the most here is "
        f"{max(each['ours_s'] / each['faiss_s'] for each in exact):.2f}.",
        "",
        f"## HNSW, {LINKS} links a vector",
        "",
        f"| candidates | recall@{K} | {batch['queries']:,} queries, s | speed-up | one query, ms | speed-up |",
        "|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {each['effort']} | {each['recall']:.4f} | {each['s']:.3f} | {batch['ours_s'] / each['s']:.1f} | "
            f"{1000 * each['one_s']:.2f} | {single['ours_s'] / each['one_s']:.0f} |"
            for each in compared["hnsw"]
        ),
        "",
        f"Asked for: recall@{K} of at least {RECALL}: {reached}. Speed-ups are over our exact search at the "
        "same batch.",
        "",
        "| | s | on disk, MB | peak memory, MB |",
        "|---|---:|---:|---:|",
        f"| vectors and ids | {built['seconds']:.0f} | "
        f"{(built['sizes']['vectors.npy'] + built['sizes']['ids.parquet']) / 1e6:,.0f} | |",
        f"| HNSW | {built['hnsw_s']:.0f} | {built['sizes']['ann.faiss'] / 1e6:,.0f} | {built['peak_mb']:,.0f} |",
        "",
        "Building HNSW holds the vectors and the links in memory; a search maps them.",
        "",
        f"## {half_rows:,} rows in float16, mapped",
        "",
        "| | |",
        "|---|---:|",
        f"| build, s | {half['seconds']:.0f} |",
        f"| peak memory of the build, MB | {half['peak_mb']:,.0f} |",
        f"| vectors on disk, MB | {half['sizes']['vectors.npy'] / 1e6:,.0f} |",
        f"| {HALF_QUERIES} queries at a time, s | {searched['seconds']:.1f} |",
        f"| queries per second | {HALF_QUERIES / searched['seconds']:.1f} |",
        f"| one query, s | {searched['one_s']:.2f} |",
        f"| peak memory of the search, MB | {searched['peak_mb']:,.0f} |",
        f"| of these imports and opening, MB | {searched['before_mb']:,.0f} |",
        "",
        "Peak memory is what Linux calls resident (VmHWM), mapped pages included: those that the search has gone past "
        "are given back to the system's cache. Asked for: less than 2 GB.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="of the float32 gallery")
    parser.add_argument("--half-rows", type=int, default=HALF_ROWS, help="of the float16 gallery")
    parser.add_argument("--out", type=Path, help="Markdown file to write; it is printed anyway")
    options = parser.parse_args()
    text = record(options.rows, options.half_rows)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)


if __name__ == "__main__":
    main()
