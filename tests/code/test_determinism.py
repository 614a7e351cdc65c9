"""`deterministic`: the same weights bit for bit, and what must hold before it can be promised."""

import os

import pytest
import torch
from small_runs import params, trainer
from small_shards import write_small_shards
from whole_sections import variant_params

from fabnet.errors import UserError
from fabnet.files import hash_file
from fabnet.training.variant import train_variant
from fabnet.training.world import World, arithmetic

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def flags():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.mark.parametrize("shape", [{"views": 4, "sources": 3, "flow_stride": 2, "shared_decoder": True}, {}])
def test_on_a_cpu_the_weights_are_the_same_either_way(tmp_path, shape):
    data = write_small_shards(tmp_path)
    hashes = set()
    for deterministic in (False, True):
        values = variant_params(**shape, decoder="factored", deterministic=deterministic)
        out = tmp_path / str(deterministic)
        train_variant("v", values, data / "frames", data / "splits.parquet", out, tmp_path / "work")
        hashes.add(hash_file(out / "last.pt"))
    assert len(hashes) == 1


def test_kernels_are_chosen_for_the_time_of_a_run_alone(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    before = flags()
    with arithmetic(False, CPU):
        assert flags() == (before[0], True, before[2])
    with arithmetic(True, CPU):
        assert flags() == (True, False, False)
    assert flags() == before


@pytest.mark.parametrize(
    ("said", "started", "expected"),
    [
        (None, False, ":4096:8"),
        (":16:8", True, ":16:8"),
        (":0:0", False, UserError),  # a workspace of nothing
        (None, True, UserError),  # too late to say it
    ],
)
def test_what_cublas_is_told_before_it_starts(monkeypatch, said, started, expected):
    monkeypatch.setenv(CUBLAS, "")  # noted by monkeypatch, whatever happens to it below
    monkeypatch.delenv(CUBLAS)
    if said is not None:
        monkeypatch.setenv(CUBLAS, said)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: started)
    if expected is UserError:
        with pytest.raises(UserError, match=CUBLAS), arithmetic(True, CUDA):
            pass
        assert not torch.are_deterministic_algorithms_enabled()
        return
    with arithmetic(True, CUDA):
        assert os.environ[CUBLAS] == expected


@pytest.mark.gpu
@pytest.mark.parametrize("decoder", ["direct", "factored"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "shape",
    [{}, {"sources": 3, "curriculum": {}}, *({"objective": o} for o in ("autoencoder", "rotation", "split_brain"))],
)
def test_two_runs_on_a_gpu_have_the_same_weights(monkeypatch, decoder, precision, shape):
    if torch.cuda.is_initialized() and CUBLAS not in os.environ:
        pytest.skip(f"CUDA was started without {CUBLAS}")
    monkeypatch.setenv(CUBLAS, ":4096:8")
    runs = []
    for _ in range(2):
        with arithmetic(True, CUDA):
            run = trainer(params(decoder=decoder, precision=precision, samples=1600, **shape), world=World(device=CUDA))
            runs.append(run.run().last)
    for name, weight in runs[0].items():
        assert torch.equal(weight, runs[1][name]), name
