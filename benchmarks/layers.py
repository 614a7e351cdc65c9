"""What each layer of FAb-Net costs in a training step, and how long an ideal GPU would take over it.

For each convolution of one sample: operations and bytes of the two ways of a decoder's layer (`direct`: upsampling,
then convolution; `factored`: matrix products), the fewest bytes, and the bytes of batch norm and activation behind it;
and microseconds per 1000 samples, by the slower of the two ceilings. Computed; nothing is run on a device.

    python benchmarks/layers.py [--size 64 128 256] [--sources 1] [--tflops 780 --tbs 4.15]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a bare image has no fabnet installed

from benchmarks._floor import Ceilings, Cost, Layer, layers
from fabnet.networks.fabnet import FabNet

#: Base filters by size of a frame, as in the default profile and in `profiles/gpu.yaml` and `profiles/paper.yaml`.
FILTERS = {64: 16, 128: 32, 256: 32}
WAYS = ("direct", "factored", "least", "between")


def table(found: Sequence[Layer], ceiling: Ceilings) -> list[str]:
    """Lines of a Markdown table, a layer each, and their sums.

    Args:
        found: the layers of one sample.
        ceiling: of the device.
    """
    lines = [
        "| layer | channels | px | Gflop direct | factored | MB direct | factored | fewest | between | "
        "µs direct | factored | fewest | between |",
        "|---" * 13 + "|",
    ]
    sums = {way: [0.0, 0.0, 0.0] for way in WAYS}
    for layer in found:
        costs: dict[str, Cost] = {way: getattr(layer, way)() for way in WAYS}
        for way, cost in costs.items():
            for place, value in enumerate((*cost, cost.seconds(ceiling))):
                sums[way][place] += value
        side = layer.side * 2 if layer.upsampled else layer.side // 2
        rows = {way: [*cost, cost.seconds(ceiling)] for way, cost in costs.items()}
        lines.append(row(layer.name, f"{layer.channels_in} to {layer.channels_out}", f"{layer.side} to {side}", rows))
    lines.append(row("**all**", "", "", sums))
    return lines


def row(name: str, channels: str, px: str, values: dict[str, list[float]]) -> str:
    cells = [name, channels, px]
    cells += [f"{values[way][0] / 1e9:.3f}" for way in WAYS[:2]]
    cells += [f"{values[way][1] / 1e6:.2f}" for way in WAYS]
    cells += [f"{values[way][2] * 1e9:.0f}" for way in WAYS]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=list(FILTERS))
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--filters", type=int, help="16 up to 64 px, else 32, where not given")
    parser.add_argument("--tflops", type=float, default=780.0, help="1e12 bf16 operations per second of the device")
    parser.add_argument("--tbs", type=float, default=4.15, help="1e12 bytes per second of the device")
    options = parser.parse_args()
    ceiling = Ceilings(options.tflops * 1e12, options.tbs * 1e12)
    for size in options.size:
        filters = options.filters or FILTERS.get(size, 32)
        model = FabNet(size, filters, 8 * filters, options.sources)
        print(f"\n{size} px, {filters} filters, {options.sources} source(s); µs per 1000 samples\n")
        print("\n".join(table(layers(model, options.sources, size), ceiling)))


if __name__ == "__main__":
    main()
