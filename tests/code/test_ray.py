"""The engine `ray` on a cluster of two nodes: the same bytes as on one machine, whatever is killed."""

import os
import signal
from importlib.util import find_spec

import psutil
import pytest
from inference_files import write_model, write_random_heads

from fabnet.config import ExtractParams
from fabnet.inference.embed import embed
from fabnet.model import load
from fabnet.video.extract import extract
from tests.code.killed_workers import Killer, files, many_clips, units_done

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


@pytest.fixture(scope="module")
def cluster():
    """A head and a second node, of one core each; RAY_ADDRESS names them."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            cluster.second = cluster.add_node(num_cpus=1)
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            cluster.shutdown()


def busy(cluster) -> list[psutil.Process]:
    """Processes of the cluster that are at work on a job, which Ray writes into their titles."""
    found = []
    for node in cluster.list_all_nodes():
        for started in node.all_processes["raylet"]:
            for process in psutil.Process(started.process.pid).children(recursive=True):
                try:
                    found += [process] if "ray::_work" in " ".join(process.cmdline()) else []
                except psutil.Error:
                    continue  # it ended meanwhile
    return found


def test_a_killed_worker_costs_an_embedding_nothing_but_time(cluster, tmp_path):
    videos = many_clips(tmp_path / "videos", 8)
    write_random_heads(tmp_path / "heads.npz", write_model(tmp_path / "model"))
    model = load(tmp_path / "model", tmp_path / "heads.npz", device="cpu")
    params = model.face_params(fps=5, workers=1)
    embed([videos], model, tmp_path / "local.parquet", params)
    killed = []

    def kill() -> bool:
        for process in busy(cluster)[:1]:
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)
        return bool(killed)

    killer = Killer(lambda: len(list(tmp_path.glob("ray.parquet.parts/part-*.parquet"))), 2, kill)
    killer.start()
    done = embed([videos], model, tmp_path / "ray.parquet", params.model_copy(update={"engine": "ray", "workers": 0}))
    assert killer.done
    assert (done.inputs, done.faces, done.bad) == (8, 8 * 30, [])
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()
    assert not (tmp_path / "ray.parquet.parts").exists()


def test_a_killed_node_costs_an_extraction_nothing_but_time(cluster, tmp_path):
    videos = many_clips(tmp_path / "videos", 16)
    params = ExtractParams.standalone(videos=videos, image_size=32, fps=5, workers=1)
    extract(params, tmp_path / "local", tmp_path / "work")

    def kill() -> bool:
        cluster.remove_node(cluster.second, allow_graceful=False)
        return True

    killer = Killer(lambda: units_done(tmp_path / "work"), 6, kill)
    killer.start()
    extract(params.model_copy(update={"engine": "ray", "workers": 0}), tmp_path / "ray", tmp_path / "work")
    assert killer.done
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert set(files(tmp_path / "ray")) >= {"index.parquet", "rejects.parquet", "ledger.parquet", "tracks-00000.tar"}
