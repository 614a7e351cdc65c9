"""The registered model behind `fabnet serve`: latency, throughput, batches against `fabnet embed`, errors, memory.

Registers models/fabnet with its probes in a project of its own, in a temporary folder (a network with random weights
where there is no trained one), serves it, and sends JPEG images of 256 pixels. What is compared is measured by turns in
the same run: one request against the bare model call in this process, and batches of 64 against the unit of work of
`fabnet embed` on the same images as files. Clients run on the same cores as the server. Run with `make bench`, or give
--seconds (for the count of errors), --requests (for memory), --rounds, --workers and --json FILE.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil  # type: ignore[import-untyped]
import simplejpeg

from benchmarks._registered import write_project
from fabnet.files import write_json

SIDE, QUALITY, BATCH, IMAGES = 256, 90, 64, 512
START_S = 300.0
URI = "models:/fabnet@challenger"


class Limit(NamedTuple):
    """A figure to reach."""

    what: str
    value: float
    limit: float
    at_most: bool = True

    def line(self) -> str:
        held = self.value <= self.limit if self.at_most else self.value >= self.limit
        bound = "at most" if self.at_most else "at least"
        return f"{'reached' if held else 'MISSED':8}{self.what}: {self.value:.3g}, {bound} {self.limit:g}"


def images(count: int) -> list[bytes]:
    """Faces would compress as well as these: smooth colours with a little noise, some 15 kB each."""
    import cv2

    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        noisy = np.clip(smooth + random.normal(0, 4, smooth.shape).astype(np.int16), 0, 255).astype(np.uint8)
        made.append(simplejpeg.encode_jpeg(noisy, quality=QUALITY))
    return made


def request_of(jpegs: list[bytes]) -> bytes:
    return json.dumps({"inputs": [base64.b64encode(each).decode() for each in jpegs]}).encode()


@contextmanager
def server(root: Path, workers: int) -> Iterator[tuple[int, psutil.Process]]:
    """The port and the process of `fabnet serve`."""
    command = [sys.executable, "-c", "from fabnet.cli.main import main; main()", "serve", URI, "--port", "0"]
    command += ["--workers", str(workers)]
    log = root / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_S
        while log.read_text().count(" is served at ") < workers:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {log.read_text()}")
            time.sleep(0.1)
        yield int(log.read_text().partition("127.0.0.1:")[2].partition("/")[0]), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


class Client:
    """A connection that is kept. Counts what was not answered with 200."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=120)
        self.errors = 0

    def ask(self, body: bytes) -> bytes:
        try:
            self._connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            text = answer.read()
        except OSError:
            self._connection.close()
            self.errors += 1
            return b""
        self.errors += answer.status != 200
        return text


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def load(
    port: int, bodies: list[bytes], clients: int, seconds: float = 1e9, requests: int = 10**9
) -> tuple[list[float], int, float]:
    """Seconds of every request that so many clients sent one after the other, errors, and seconds of it all."""
    spent: list[list[float]] = [[] for _ in range(clients)]
    connections = [Client(port) for _ in range(clients)]
    end = time.monotonic() + seconds

    def run(number: int) -> None:
        share = requests // clients
        while time.monotonic() < end and len(spent[number]) < share:
            body = bodies[(number + len(spent[number])) % len(bodies)]
            spent[number].append(timed(connections[number].ask, body))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    took = time.perf_counter() - started
    return [each for own in spent for each in own], sum(each.errors for each in connections), took


@contextmanager
def offline(jpegs: list[bytes], folder: Path, package: Path, workers: int) -> Iterator[Callable[[], float]]:
    """Measures seconds of an image in the unit of work of `fabnet embed`, from files to a part of the table."""
    folder.mkdir()
    for number, each in enumerate(jpegs):
        (folder / f"{number:04d}.jpg").write_bytes(each)
    shares = [(str(folder), str(package), number, workers) for number in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def run() -> float:
            return timed(lambda: list(pool.map(_embed_share, shares))) / len(jpegs)

        run()  # processes start and load the model
        yield run


def _embed_share(share: tuple[str, str, int, int]) -> None:
    from fabnet.faces.inputs import find_inputs
    from fabnet.inference.embed import Job, run_job
    from fabnet.model import load
    from fabnet.video.recipe import recipe

    folder, package, number, workers = share
    heads = next(iter(Path(package, "artifacts").glob("*.npz")), None)
    model = load(Path(package) / "artifacts/model", heads, device="cpu")
    params = model.face_params("cropped", force=True)
    inputs, _ = find_inputs([Path(folder)])
    with tempfile.TemporaryDirectory() as out:
        part = Path(out) / "part.parquet"
        run_job(Job(tuple(inputs[number::workers]), model, params, recipe(params)["hash"], BATCH, part))


def bare(package: Path, jpeg: bytes, threads: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The model's own call on one image, and the network's on one crop, on as many threads as a worker has."""
    import torch

    from fabnet.serving.reader import ImageReader

    torch.set_num_threads(threads)
    artifacts = package / "artifacts"
    reader = ImageReader(artifacts / "model", artifacts / "description.json", next(iter(artifacts.glob("*.npz")), None))
    images, side = [base64.b64encode(jpeg).decode()], reader.model.size
    crop = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    return lambda: reader.read(images), lambda: reader.model.embed(crop)


def tree_mb(process: psutil.Process) -> float:
    """Resident memory of a process and its children."""
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 2**20


def milliseconds(spent: list[float]) -> str:
    return f"p50 {np.median(spent) * 1e3:7.2f} ms   p99 {np.quantile(spent, 0.99) * 1e3:7.2f} ms"


def main(seconds: float, requests: int, rounds: int, workers: int, out: Path | None) -> None:
    root = Path(tempfile.mkdtemp(prefix="fabnet-serve-"))
    os.environ.update(DVC_ROOT=str(root), MLFLOW_DISABLE_TELEMETRY="true")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.pop("OMP_NUM_THREADS", None)
    from fabnet.serving.server import threads_of
    from fabnet.tracking.registry.lifecycle import register
    from fabnet.tracking.registry.versions import fetch

    try:
        what = write_project(root, Path.cwd())
        register("fabnet", root=root)
        package = fetch(URI).directory.parent.parent
        threads = threads_of(workers)
        print(f"{what}; {os.cpu_count()} cores, {workers} worker(s), threads of a network: {threads}", flush=True)
        found = measure(root, package, seconds, requests, rounds, workers, threads)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if out is not None:
        write_json(out, found)


def measure(
    root: Path, package: Path, seconds: float, requests: int, rounds: int, workers: int, threads: int
) -> dict[str, float]:
    jpegs = images(IMAGES)
    print(
        f"{len(jpegs)} JPEG images of {SIDE} px, {np.mean([len(each) for each in jpegs]) / 1e3:.1f} kB each", flush=True
    )
    ones = [request_of([each]) for each in jpegs]
    batches = [request_of(jpegs[start : start + BATCH]) for start in range(0, len(jpegs), BATCH)]
    model_call, network_call = bare(package, jpegs[0], threads)
    errors = 0
    with offline(jpegs, root / "files", package, workers) as embed, server(root, workers) as (port, process):
        load(port, ones, 8, requests=200)
        load(port, batches, workers, requests=2 * workers)
        model, network, one, eight, batch, files = (list[float]() for _ in range(6))
        eight_s = 0.0
        for _ in range(rounds):
            client = Client(port)
            for number in range(50):
                body = ones[number % len(ones)]
                model.append(timed(model_call))
                one.append(timed(client.ask, body))
                network.append(timed(network_call))
            errors += client.errors
            spent, wrong, took = load(port, ones, 8, requests=200)
            eight, eight_s, errors = eight + spent, eight_s + took, errors + wrong
            spent, wrong, took = load(port, batches, workers, requests=len(batches))
            batch.append(took / (len(spent) * BATCH))
            errors += wrong
            files.append(embed())
        print(f"bare model call, 1 image     {milliseconds(model)}")
        print(f"bare network, 1 crop         {milliseconds(network)}")
        print(f"request of 1, 1 client       {milliseconds(one)}")
        print(f"request of 1, 8 clients      {milliseconds(eight)}   {len(eight) / eight_s:.0f} requests/s")
        print(f"batches of {BATCH}, {workers} client(s)    {1 / np.median(batch):.0f} images/s")
        print(f"fabnet embed, {workers} process(es)  {1 / np.median(files):.0f} images/s", flush=True)

        load(port, ones, 8, requests=min(500, requests))
        before = tree_mb(process)
        _, wrong, took = load(port, ones, 8, requests=requests)
        after = tree_mb(process)
        errors += wrong
        print(f"memory: {before:.0f} MB, after {requests:,} requests {after:.0f} MB ({requests / took:.0f} requests/s)")
        spent, wrong, _ = load(port, ones, 8, seconds=max(0.0, seconds - took))
        errors += wrong
        print(f"errors in {max(seconds, took):.0f} s of 8 clients: {errors} of {requests + len(spent):,} requests")
    figures = {
        "one_over_model": float(np.median(one) / np.median(model)),
        "one_over_network": float(np.median(one) / np.median(network)),
        "batch_over_embed": float(np.median(np.array(files) / np.array(batch))),
        "memory_growth_mb": after - before,
        "errors": errors,
    }
    limits = [
        Limit("p50 of one client over the bare model call", figures["one_over_model"], 2.5),
        Limit("batches' rate over that of fabnet embed", figures["batch_over_embed"], 0.8, at_most=False),
        Limit("growth of memory in MB", figures["memory_growth_mb"], 0.05 * before),
        Limit("errors", errors, 0),
    ]
    print("\n".join(each.line() for each in limits))
    print(f"p50 of one client over the bare network: {figures['one_over_network']:.3g}")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.requests, arguments.rounds, arguments.workers, arguments.json)
