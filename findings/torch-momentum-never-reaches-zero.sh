#!/usr/bin/env bash
# Where a parameter's gradient becomes zero (dead units, a frozen head, a source of a curriculum that ended), the momentum
# of SGD decays by a factor of .9 a step. It never becomes zero: after some 800 steps it is denormal, and from 5.6e-45 on, four
# of float32's smallest unit, .9 of it is rounded to itself. Processors compute with denormal numbers many times slower, so
# that from then on every step of the optimiser is slow, for ever; no value of the network looks odd. Adam's first moment
# stops at the same number. torch.set_flush_denormal(True) cures both, in the calling thread and those that it starts later.
# Seen with torch 2.13.0 on an Intel Xeon, one thread, 200,000 parameters (CPU time):
#
#   flush off: momentum after 600 steps 6.6e-30 (0.5 ms a step), after 1000 5.6e-45 (2.8 ms), after 1500 5.6e-45 (2.7 ms)
#   flush on:  momentum after 600 steps 6.6e-30 (0.5 ms a step), after 1000 0 (0.3 ms), after 1500 0 (0.3 ms)
#
# Fails (exit 1) when a step is not at least 3 times slower, or the momentum reaches zero by itself. Needs x86-64, python3
# (3.11), and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import time

import torch

torch.set_num_threads(1)
LOOKS = (600, 1000, 1500)


def trained(kind, flush, count=200_000, **options):
    """{step: (momentum of the first parameter, median ms of the 20 steps up to it)}; ten gradients, then zeros."""
    assert torch.set_flush_denormal(flush), "this processor cannot"
    parameter = torch.nn.Parameter(torch.ones(count))
    optimiser = kind([parameter], lr=1e-4, **options)
    took, found = [], {}
    for step in range(1, LOOKS[-1] + 1):
        parameter.grad = torch.full_like(parameter, 1e-3 if step <= 10 else 0.0)
        began = time.thread_time()
        optimiser.step()
        took.append(time.thread_time() - began)
        if step in LOOKS:
            state = optimiser.state[parameter]
            moment = state["exp_avg"] if "exp_avg" in state else state["momentum_buffer"]
            found[step] = moment[0].item(), 1000 * sorted(took[-20:])[10]
    return found


print("torch", torch.__version__)
seen = {flush: trained(torch.optim.SGD, flush, momentum=0.9) for flush in (False, True)}
for flush, found in seen.items():
    text = (f"after {step} steps {moment:.2g} ({ms:.1f} ms a step)" for step, (moment, ms) in found.items())
    print(f"SGD, flush {'on: ' if flush else 'off:'} momentum", *text, sep="  ")
adam = trained(torch.optim.Adam, False, count=1)[1500][0]
print(f"Adam, flush off: first moment after 1500 steps {adam:.2g}")
smallest = 2.0**-149
assert seen[False][1000][0] == seen[False][1500][0] == adam == 4 * smallest, "the momentum no longer stays at 5.6e-45"
assert seen[True][1000][0] == seen[True][1500][0] == 0, "flushing no longer makes it zero"
assert seen[False][1500][1] > 3 * seen[False][600][1], "steps with denormal momentum are no longer slow"
assert seen[True][1500][1] < 3 * seen[True][600][1], "flushing no longer keeps steps fast"
PYTHON
