"""Bad clips by a seeded script: whole ones of every kind, and each of them damaged in every way.

By hand, `python -m tests.code.mutated_clips --copies 20 --seed 1` extracts from some thousand of them.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks._memory import peak_mb
from fabnet.config import ExtractParams
from fabnet.video.extract import extract
from tests.code.clip_files import write_clip, write_noise, write_pictures, write_sizes, write_sound

FRAMES = list(range(30))
_X265 = {"x265-params": "log-level=none", "preset": "ultrafast"}
_GROUPS = {"preset": "ultrafast", "g": "8", "bf": "2"}

#: name: writes a whole clip there
WHOLE: dict[str, Callable[[Path], Path]] = {
    "plain.mp4": lambda path: write_pictures(path, FRAMES, options=_GROUPS),
    "faststart.mp4": lambda path: write_pictures(path, FRAMES, container_options={"movflags": "faststart"}),
    "fragments.mp4": lambda path: write_pictures(
        path, FRAMES, options=_GROUPS, container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "noise.mp4": lambda path: write_noise(path, 30, movflags="faststart"),
    "plain.mkv": lambda path: write_pictures(path, FRAMES, options=_GROUPS),
    "plain.avi": lambda path: write_pictures(path, FRAMES, options=_GROUPS),
    "intra.avi": lambda path: write_pictures(path, FRAMES, "mjpeg", pix_fmt="yuvj420p"),
    "hevc10.mov": lambda path: write_pictures(path, FRAMES, "libx265", pix_fmt="yuv420p10le", options=_X265),
    "h26410.mp4": lambda path: write_pictures(path, FRAMES, pix_fmt="yuv420p10le"),
    "vp9.webm": lambda path: write_pictures(path, FRAMES, "libvpx-vp9", options={"deadline": "realtime"}),
    "mpeg4.avi": lambda path: write_pictures(path, FRAMES, "mpeg4"),
    "odd.mkv": lambda path: write_pictures(path, FRAMES, size=(63, 47), pix_fmt="yuv444p"),
    "tiny.mp4": lambda path: write_pictures(path, FRAMES, size=(2, 2)),
    "strip.mp4": lambda path: write_pictures(path, FRAMES, size=(512, 4)),
    "rotated.mp4": lambda path: write_pictures(path, FRAMES, rotation=90),
    "variable.mp4": lambda path: write_clip(path, [0, 40, 700, 710, 1900, 1940]),
    "late.mkv": lambda path: write_clip(path, [5000, 5400, 6000, 7100]),
    "sizes.mkv": lambda path: write_sizes(path, (64, 48), (96, 80), (48, 64)),
    "gif.mp4": lambda path: _renamed(path, ".gif", lambda gif: write_pictures(gif, FRAMES, "gif", pix_fmt="rgb8")),
    "stream.mp4": lambda path: _renamed(path, ".ts", lambda stream: write_pictures(stream, FRAMES, options=_GROUPS)),
    "one.mp4": lambda path: write_pictures(path, [0]),
    "sound.mp4": write_sound,
    "none.mkv": lambda path: write_clip(path, []),
}


def _renamed(path: Path, suffix: str, write: Callable[[Path], Path]) -> Path:
    """Under the name of another container."""
    return write(path.with_suffix(suffix)).replace(path)


Damage = Callable[[bytearray, np.random.Generator], bytearray]


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(1, len(data)))]


def _beheaded(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[int(rng.integers(1, len(data))) :]


def _flip(data: bytearray, places: np.ndarray, rng: np.random.Generator) -> bytearray:
    for place in places:
        data[place] ^= 1 << rng.integers(8)
    return data


def _flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _flip(data, rng.integers(0, len(data), rng.choice([1, 4, 32])), rng)


def _flipped_head(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _flip(data, rng.integers(0, min(800, len(data)), rng.choice([1, 3, 10])), rng)


def _flipped_tail(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Where tables of contents are."""
    return _flip(data, len(data) - rng.integers(1, min(1200, len(data)), rng.choice([1, 3, 10])), rng)


def _zeros(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _block(data, rng, lambda block: bytes(len(block)))


def _noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _block(data, rng, lambda block: rng.bytes(len(block)))


def _lost(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _block(data, rng, lambda block: b"")


def _twice(data: bytearray, rng: np.random.Generator) -> bytearray:
    return _block(data, rng, lambda block: block + block)


def _block(data: bytearray, rng: np.random.Generator, change: Callable[[bytes], bytes]) -> bytearray:
    start = int(rng.integers(0, len(data)))
    end = start + int(rng.integers(1, 1 + len(data) // 4))
    data[start:end] = change(bytes(data[start:end]))
    return data


def _times(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Noise for time stamps: the tables of durations and offsets of MP4; elsewhere like other noise."""
    places = [place for box in (b"stts", b"ctts", b"elst", b"mvhd", b"mdhd") if (place := data.find(box)) >= 0]
    if not places:
        return _noise(data, rng)
    place = int(rng.choice(places)) + 8
    data[place : place + 12] = rng.bytes(12)
    return data


def _huge(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Absurd dimensions, wherever these containers and codecs keep them; elsewhere bits of the head."""
    if data[:3] == b"GIF":
        data[6:10] = b"\xff\xff\xff\xff"
        return data
    for marker, offset in ((b"avc1", 28), (b"hvc1", 28), (b"hev1", 28), (b"tkhd", 80), (b"\xff\xc0\0\x11\x08", 5)):
        place = data.find(marker)
        if place >= 0:
            data[place + offset : place + offset + 4] = b"\x7f\xff\x7f\xff"
    sps = data.find(b"\x67\x42") if data.find(b"\x67\x42") >= 0 else data.find(b"\x67\x64")
    if sps >= 0:  # the sequence parameters of H.264, which hold the size in bits
        data[sps + 4 : sps + 10] = rng.bytes(6)
    return data if sps >= 0 else _flipped_head(data, rng)


DAMAGE: dict[str, Damage] = {
    "cut": _cut,
    "beheaded": _beheaded,
    "flipped": _flipped,
    "head": _flipped_head,
    "tail": _flipped_tail,
    "zeros": _zeros,
    "noise": _noise,
    "lost": _lost,
    "twice": _twice,
    "times": _times,
    "huge": _huge,
}
_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")


def write_mutated(folder: Path, seed: int = 0, copies: int = 1) -> list[Path]:
    """Fill `folder` with clips `<kind>/<damage>-<copy>.<suffix>`: whole ones, and `copies` of each damage to each."""
    paths = []
    for number, (name, write) in enumerate(WHOLE.items()):
        parent = folder / name.replace(".", "_")
        parent.mkdir(parents=True)
        whole = write(parent / name)
        paths.append(whole)
        content = whole.read_bytes()
        for way, (kind, damage) in enumerate(DAMAGE.items()):
            for copy in range(copies):
                rng = np.random.default_rng((seed, number, way, copy))
                suffix = rng.choice(_SUFFIXES) if rng.random() < 0.1 else whole.suffix
                path = parent / f"{kind}-{copy}{suffix}"
                path.write_bytes(damage(bytearray(content), rng))
                paths.append(path)
    extra = folder / "extra"
    extra.mkdir()
    for name, content in {"zero.mp4": b"", "text.mkv": b"no video\n" * 99, "nul.avi": bytes(5000)}.items():
        (extra / name).write_bytes(content)
        paths.append(extra / name)
    return paths


def extract_mutated(folder: Path, seed: int = 0, copies: int = 1) -> dict[str, float]:
    """Extract from such clips into `folder`/frames, in this process and its workers.

    Returns:
        number of clips, seconds, and the most memory of a process, in MB
    """
    clips = len(write_mutated(folder / "videos", seed, copies))
    # Many samples, so that much is decoded.
    params = ExtractParams.standalone(videos=folder / "videos", workers=1, fps=5, image_size=16, clip_limit_s=20)
    begin = time.monotonic()
    extract(params, folder / "frames", folder / "work")
    seconds = time.monotonic() - begin
    # One worker is this process itself.
    return {"clips": clips, "seconds": seconds, "memory_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="a new one, which is kept; else a temporary one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--copies", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        print(json.dumps(extract_mutated(folder, args.seed, args.copies)))


if __name__ == "__main__":
    main()
