"""Where frames live, and a GPU, or a machine for it, that is not what it should be; torch's errors are simulated."""

import sys
import warnings
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import SIZE, Blobs, Damaged, params, trainer
from small_shards import write_small_shards
from test_training_resume import assert_same
from whole_sections import variant_params

from fabnet.errors import UserError
from fabnet.frames.cache import FrameCache
from fabnet.frames.corrupt import CorruptFrame, CorruptFrames
from fabnet.frames.store import FrameStore, NvJpeg
from fabnet.training import checkpoint, memory, world
from fabnet.training.memory import Places, held_by, place_frames
from fabnet.training.variant import train_variant
from fabnet.training.world import World, joined

GIB = 2**30
SPLITS = [Places(np.array([0, 10]), np.array([10, 10])), Places(np.array([20]), np.array([10]))]
GPU = World(device=torch.device("cuda", 0))
FULL = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which\nmore"


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 80 GiB, of which `free` are free and `ours` reserved; its frames lie on the host. What is told of it."""
    state = SimpleNamespace(free=80 * GIB, ours=0, room=True, there=[])

    class There(FrameCache):
        def __init__(self, frames, start, length, size, limit, device=None):
            if device is not None and not state.room:
                raise torch.OutOfMemoryError(FULL)
            super().__init__(frames, start, length, size, limit)
            if device is not None:
                state.there.append(self)

    monkeypatch.setattr(memory, "FrameCache", There)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (state.free, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: state.ours)
    return state


def placed(frames=None, **changes):
    store = frames or Blobs()
    store.size = SIZE
    return place_frames(store, SPLITS, params(**changes), GPU, CorruptFrames(1), "train@v")


def test_frames_that_fit_are_loaded_to_the_gpu(gpu, capsys):
    frames = placed(Damaged({24}))
    assert frames == gpu.there
    assert [cache.loaded for cache in frames] == [True, True]
    assert [len(cache.pictures) for cache in frames] == [20, 10]
    said = capsys.readouterr().err
    assert "train@v: to the GPU: 20/20 frames (100 %)" in said
    assert "frame 24 cannot be decoded; passed over" in said


NEEDED = 30 * 3 * SIZE * SIZE


@pytest.mark.parametrize(
    ("changes", "free", "room", "why"),
    [
        ({"resident_gib": 0.9 * NEEDED / GIB}, 80 * GIB, True, "more than resident_gib: 1.9"),
        ({}, 16 * GIB + NEEDED - 1, True, "of which 80.0 GiB has 16.0 GiB free, a fifth of it for the step"),
        ({}, 80 * GIB, False, "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity"),
    ],
)
def test_frames_that_do_not_fit_are_decoded_ahead(gpu, capsys, changes, free, room, why):
    gpu.free, gpu.room = free, room
    frames = placed(**changes, cache_mb=1, workers=3)
    assert not gpu.there
    assert not any(cache.loaded for cache in frames)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"train@v: the frames take 0.0 GiB of the GPU, {why}")
    assert said.endswith("; they are decoded ahead by 3 threads")


def test_they_fit_to_the_byte_and_may_be_kept_off_the_gpu(gpu, capsys):
    gpu.free = 16 * GIB + NEEDED
    assert placed(resident_gib=NEEDED / GIB) == gpu.there
    gpu.there.clear()
    capsys.readouterr()
    assert not any(cache.loaded for cache in placed(resident_gib=0))
    assert not gpu.there
    assert capsys.readouterr().err == ""


def test_memory_of_the_host_is_seven_eighths_for_training():
    store = Blobs()
    store.size = SIZE
    split = [Places(np.arange(60) * 10, np.full(60, 10))] * 2
    frames = place_frames(store, split, params(cache_mb=0), World(), CorruptFrames(0), "x")
    assert [len(cache.pictures) for cache in frames] == [0, 0]
    places = [Places(np.arange(400), np.full(400, 10))] * 2
    frames = place_frames(store, places, params(cache_mb=2), World(), CorruptFrames(0), "x")
    assert [len(cache.pictures) for cache in frames] == [2380, 340]  # of 1.75 and 0.25 MiB by 768 bytes, whole tracks


@pytest.mark.parametrize("frames", [0, 40 * GIB])
def test_a_full_gpu_ends_the_run_with_what_to_do_and_it_resumes(gpu, tmp_path, monkeypatch, frames):
    values = params()
    whole = trainer(values).run()
    path = tmp_path / "checkpoint.pt"
    run = trainer(values, path)
    take = run._train_step

    def full(loaded):
        if run.step == 12:
            raise torch.OutOfMemoryError(FULL)
        return take(loaded)

    run._train_step = full
    gpu.free, gpu.ours = GIB, 60 * GIB
    monkeypatch.setattr("fabnet.training.loop.held_by", lambda _: frames)
    with pytest.raises(UserError) as stopped:
        run.run()
    freed = "set resident_gib to 0, which frees 40.0 GiB, and run again, or " if frames else ""
    assert str(stopped.value) == (
        "train: step 13: the GPU's memory of 80.0 GiB is full, and 2.50 GiB more were needed: wait for the other "
        f"processes there, which hold 19.0 GiB, or {freed}start anew with batch_size 8, which needs half as much for a "
        f"step; {path} holds step 10, from where it resumes"
    )
    assert checkpoint.load(path)["step"] == 10
    assert_same(trainer(values, path).run(), whole)


def test_a_gpu_that_is_full_before_the_first_checkpoint(gpu):
    run = trainer(params())

    def full(loaded):
        raise torch.OutOfMemoryError("out of memory")

    run._train_step = full
    gpu.ours, gpu.free = 79.5 * GIB, 0
    with pytest.raises(UserError, match=r"GiB is full: start anew with batch_size 8, .*no checkpoint had been written"):
        run.run()


def test_frames_held_by_the_host_are_none_of_a_gpu():
    assert held_by([Blobs(), FrameCache(Blobs(), np.array([0]), np.array([10]), SIZE, None)]) == 0


def test_a_driver_that_is_too_old_is_told_in_a_line(monkeypatch, capsys):
    def unavailable():
        warnings.warn(
            "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040).\nPlease update. "
            "(Triggered internally at CUDAFunctions.cpp:109.)",
            UserWarning,
            stacklevel=2,
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    with joined() as here:
        assert here.device.type == "cpu"
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        "warning: the GPU cannot be used, and the CPU trains: The NVIDIA driver on your system is too old (found "
        "version 11040). Please update."
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not world.has_gpu()
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_small_shards(tmp_path_factory.mktemp("data"))


def test_two_trainings_at_once_keep_to_their_own_checkpoints(data, tmp_path):
    """One variant is trained whole between two steps of another, in the same folder of checkpoints."""
    where, work = (data / "frames", data / "splits.parquet"), tmp_path / "work"
    first, second = variant_params(), variant_params(seed=1)
    alone = train_variant("a", first, *where, tmp_path / "alone", tmp_path / "elsewhere")
    inner = []

    def meanwhile(point):
        if not inner:
            inner.append(train_variant("b", second, *where, tmp_path / "b", work))

    outer = train_variant("a", first, *where, tmp_path / "a", work, meanwhile)
    assert outer["weights_sha256"] == alone["weights_sha256"]
    assert inner[0]["weights_sha256"] != alone["weights_sha256"]
    assert list(work.iterdir()) == []


def test_a_run_resumes_under_another_share_of_memory(tmp_path):
    values, inputs = params().model_dump(mode="json"), {"index": "a"}
    checkpoint.claim(tmp_path, values, inputs)
    checkpoint.save(tmp_path / "checkpoint.pt", {"step": 5})
    checkpoint.claim(tmp_path, values | {"resident_gib": 0, "cuda_graph": False, "workers": 9, "cache_mb": 0}, inputs)
    with pytest.raises(UserError, match=r"cannot resume: params.nvjpeg was False and is True\."):
        checkpoint.claim(tmp_path, values | {"nvjpeg": True, "workers": 9}, inputs)


@pytest.fixture
def torchvision(monkeypatch):
    """One that decodes on the CPU, and knows no frame whose number is in `unknown`."""
    import simplejpeg

    io = ModuleType("torchvision.io")
    io.unknown = False

    def decode_jpeg(files, mode, device):
        assert mode == "RGB"
        if io.unknown:
            raise RuntimeError("nvjpegDecodeBatched failed: 4")
        decoded = [simplejpeg.decode_jpeg(file.numpy().tobytes(), "RGB") for file in files]
        return [torch.from_numpy(picture).movedim(-1, 0) for picture in decoded]

    io.decode_jpeg, io.ImageReadMode = decode_jpeg, SimpleNamespace(RGB="RGB")
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.io", io)
    return io


def test_nvjpeg_gives_the_frames_and_the_cpu_what_it_does_not_know(data, torchvision):
    store = FrameStore(data / "frames")
    rows = np.array([3, 0, 7])
    gpu = NvJpeg(store, torch.device("cpu"))
    for torchvision.unknown in (False, True):
        np.testing.assert_array_equal(gpu.decode(rows), store.decode(rows))
    assert gpu.decode(rows[:0]).shape == (0, store.size, store.size, 3)
    cut = FrameStore(data / "frames")
    cut._size = cut._size.copy()
    cut._size[7] = 40
    with pytest.raises(CorruptFrame, match=r"frame|jpg cannot be decoded"):
        NvJpeg(cut, torch.device("cpu")).decode(rows)


def test_nvjpeg_needs_torchvision(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    with pytest.raises(UserError, match="nvjpeg: true needs torchvision, which is not installed"):
        NvJpeg(FrameStore(data / "frames"), torch.device("cpu"))
