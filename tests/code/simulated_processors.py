"""Draws, encodes, decodes, crops and compresses a little in this process, and prints hashes of what came out.

`python -m tests.code.simulated_processors FLAGS ASM` simulates a processor for the libraries that take no environment
variables: libav's flags (a number, -1 for the processor's own) and x264's names of instruction sets (`auto`, `0`).
"""

import ctypes
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
from numpy._core import _multiarray_umath as umath

ROOT = Path(__file__).resolve().parents[2]

_X264_OPTION = "x264-params"


@dataclass(frozen=True)
class Processor:
    """A processor as libraries may be told that they run on.

    Attributes:
        needs: flag of /proc/cpuinfo without which the processor at hand cannot pretend to be it.
        numpy: prefixes of the targets for which NumPy has versions and must not use them.
        libav: what libav may use, as bits of its AV_CPU_FLAG_.
        x264: what x264 may use, by its names.
        environment: variables that the other libraries read as they start.
    """

    needs: str
    numpy: tuple[str, ...]
    libav: int
    x264: str
    environment: dict[str, str]

    def found(self) -> dict[str, Any]:
        """What a process prints that takes itself to run on it: hashes, NumPy's targets in use, libav's flags."""
        features = umath.__cpu_features__
        off = [name for name in umath.__cpu_dispatch__ if name.startswith(self.numpy) and features.get(name)]
        environment = os.environ | self.environment
        if off:
            already = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()
            environment["NPY_DISABLE_CPU_FEATURES"] = ",".join([*already, *off])
        command = [sys.executable, "-m", "tests.code.simulated_processors", str(self.libav), self.x264]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return dict(json.loads(done.stdout.splitlines()[-1]))


# libav's bits: MMX 1, MMXEXT 2, SSE 8, SSE2 0x10, SSE3 0x40, SSSE3 0x80, SSE4 0x100, SSE42 0x200, AVX 0x4000, CMOV
# 0x1000, AVX2 0x8000, FMA3 0x10000, BMI1 0x20000, BMI2 0x40000.
_SSE2, _SSE42, _AVX, _AVX2 = 0x101B, 0x13DB, 0x53DB, 0x7D3DB
_EVERY = ("X86_V3", "X86_V4", "AVX", "FMA")

#: The one at hand.
OWN = Processor("sse2", ("none",), -1, "auto", {})

PROCESSORS = {
    "sse2": Processor(
        "sse2",
        _EVERY,
        _SSE2,
        "0",
        {
            "OPENBLAS_CORETYPE": "Prescott",
            "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,AVX,FP16,FMA3,SSE4.2,SSE4.1",
            "OPENCV_IPP": "disabled",
            "JSIMD_FORCENONE": "1",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX",
        },
    ),
    "nehalem": Processor(
        "sse4_2",
        _EVERY,
        _SSE42,
        "MMX2,SSE2,SSE3,SSSE3,SSE4.1,SSE4.2",
        {
            "OPENBLAS_CORETYPE": "Nehalem",
            "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,AVX,FP16,FMA3",
            "JSIMD_FORCESSE2": "1",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX",
        },
    ),
    "sandybridge": Processor(
        "avx",
        _EVERY,
        _AVX,
        "MMX2,SSE2,SSE3,SSSE3,SSE4.1,SSE4.2,AVX",
        {
            "OPENBLAS_CORETYPE": "Sandybridge",
            "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3",
            "OPENCV_IPP": "disabled",
            "JSIMD_FORCESSE2": "1",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA",
        },
    ),
    "haswell": Processor(
        "avx2",
        ("X86_V4", "AVX512"),
        _AVX2,
        "MMX2,SSE2,SSE3,SSSE3,SSE4.1,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2",
        {
            "OPENBLAS_CORETYPE": "Haswell",
            "OPENCV_CPU_DISABLE": "AVX512-SKX",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F",
        },
    ),
}


def hashes() -> dict[str, str]:
    """One hash of each kind of thing, from random numbers to crops."""
    from fabnet.config import load_params
    from fabnet.synthetic.faces import portraits_of, write_faces
    from fabnet.synthetic.features import features
    from fabnet.synthetic.landmarks import landmarks68
    from fabnet.synthetic.relief import noise_of, relief
    from fabnet.synthetic.render import render
    from fabnet.synthetic.videos import interview_of, write_videos
    from fabnet.video.decode import frames
    from fabnet.video.extract import extract

    params = load_params(ROOT / "params.yaml")
    few = params.synthesize.model_copy(
        update={
            "workers": 1,
            "videos": params.synthesize.videos.model_copy(update={"identities": 2, "seconds": 6}),
            "faces": params.synthesize.faces.model_copy(
                update={"train": 1, "validation": 1, "test": 1, "per_identity": 2}
            ),
        }
    )
    found = {}
    people = [portraits_of(few.seed, number, 4) for number in range(12)]
    states = [(identity, portrait.state) for identity, portraits in people for portrait in portraits]
    interviews = [interview_of(few.seed, number, 12) for number in range(12)]
    spoken = [(identity, interview(time)) for identity, interview in interviews for time in (0.0, 4.7)]
    found["people and states"] = _hash(repr(states + spoken).encode())
    found["noise"] = _hash(*(noise_of(identity.seed).skin.tobytes() for identity, _ in people))
    found["relief"] = _hash(*(relief(*one, features(*one)).maps.tobytes() for one in states))
    found["landmarks"] = _hash(*(landmarks68(*one, 96).tobytes() for one in states[::2] + spoken[::2]))
    found["pixels"] = _hash(*(render(*one, 96).tobytes() for one in states[::2] + spoken[::2]))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "work").mkdir()
        write_videos(place / "videos", few)
        write_faces(place / "faces", few)
        decoded = [frame.image.tobytes() for path in _files(place / "videos") for frame in frames(path, 1.0)]
        found["decoded frames"] = _hash(*decoded)
        source = params.extract.model_copy(update={"videos": place / "videos", "workers": 1})
        extract(source, place / "frames", place / "work")
        for part in ("videos", "faces", "frames"):
            # crop.json, the recipe, names the folder of the videos.
            files = [path for path in _files(place / part) if path.name != "crop.json"]
            found[part] = _hash(*(path.read_bytes() for path in files))
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def _libav() -> ctypes.CDLL:
    """The libavutil of the wheel of PyAV."""
    (library,) = (Path(av.__file__).parent.parent / "av.libs").glob("libavutil-*")
    return ctypes.CDLL(str(library))


def _main(flags: int, asm: str) -> None:
    library = _libav()
    library.av_force_cpu_flags(flags)
    add_stream = av.container.OutputContainer.add_stream

    def restricted(container: Any, codec: str, rate: Any = None, options: Any = None) -> Any:
        limited = {**options, _X264_OPTION: f"{options[_X264_OPTION]}:asm={asm}"}
        return add_stream(container, codec, rate=rate, options=limited)

    used = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
    with patch.object(av.container.OutputContainer, "add_stream", restricted):
        print(json.dumps({"hashes": hashes(), "numpy": used, "libav": library.av_get_cpu_flags()}))


if __name__ == "__main__":
    _main(int(sys.argv[1], 0), sys.argv[2])
