"""What this machine computes with, in words."""

import platform
from pathlib import Path

#: Instruction sets by which sums of training, and so trained weights, differ.
_SHOWN = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, and which instruction sets it has of those that matter to training; no more than is known."""
    about: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            about.setdefault(key.strip(), value.strip())
    name = about.get("model name") or platform.processor() or platform.machine()
    has = [flag for flag in _SHOWN if flag in about.get("flags", "").split()]
    return f"{name} ({', '.join(has)})" if has else name
