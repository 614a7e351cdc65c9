#!/usr/bin/env bash
# torch.autocast("cpu", dtype=torch.bfloat16) makes convolutions twice as fast on a processor with AVX512-BF16 or AMX, and
# many times slower on one without, where torch leaves oneDNN for a convolution of its own (_slow_conv2d_forward in its
# profiler). Nothing is printed, so that the recipe that halves the cost of training on one machine multiplies it on the
# next. Both can be seen on one machine, since oneDNN and torch can be told to keep to AVX2. Upstream: https://github.com/pytorch/pytorch/issues/118499,
# open, asks for a warning. Seen with torch 2.13.0 on an Intel Xeon, forward and backward of four layers, one thread, CPU time:
#
#   all that this processor has: float32 59 ms, bfloat16 30 ms, warnings none
#   told to keep to AVX2: float32 66 ms, bfloat16 724 ms, warnings none
#
# Fails (exit 1) when bfloat16 is less than twice as slow there, or torch warns. Needs x86-64 with AVX2, python3 (3.11), and
# a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/step.py" <<'PYTHON'
import time
import warnings

import torch

torch.set_num_threads(1)
torch.manual_seed(0)
network = torch.nn.Sequential(*[torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(4)])
images = torch.randn(16, 32, 32, 32)


def took(bf16):
    """CPU milliseconds of a step, the fastest of five."""
    times = []
    for _ in range(5):
        began = time.thread_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            network(images).float().mean().backward()
        times.append(1000 * (time.thread_time() - began))
    return min(times)


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    float32, bfloat16 = took(False), took(True)
print(f"float32 {float32:.0f} ms, bfloat16 {bfloat16:.0f} ms, warnings {len(said) or 'none'}")
raise SystemExit(0 if bfloat16 > 2 * float32 and not said else 1)
PYTHON
echo "all that this processor has: $("$folder/venv/bin/python" "$folder/step.py" || true)"
told=(env ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 "$folder/venv/bin/python" "$folder/step.py")
# What is written to stderr would be a warning as well.
"${told[@]}" > "$folder/said" 2>&1 || { echo "torch behaves differently now: $(cat "$folder/said")" >&2; exit 1; }
[[ $(wc -l < "$folder/said") == 1 ]] || { echo "torch says something now: $(cat "$folder/said")" >&2; exit 1; }
echo "told to keep to AVX2: $(cat "$folder/said")"
