"""How far do the scores of one variant lie apart when it is trained again? The lines `spread` of verify.yaml.

    python -m studies.spread

Pools the variance over training seeds in docs/results/variants.json, of the variants of the default profile. Each
has few seeds, so that none by itself would tell.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import fmean, variance
from typing import Any

#: Of the default profile, without those that are fine-tuned from one of them.
VARIANTS = ("autoencoder", "fabnet", "fabnet_3src")


def pooled(variants: Mapping[str, Mapping[str, Mapping[str, Any]]], chosen: Collection[str]) -> dict[str, float]:
    """Standard deviation over seeds by metric, in the metric's unit.

    Args:
        variants: as `variants` of variants.json has them: variant, metric, `seeds`.
        chosen: variants that count.
    """
    metrics = dict.fromkeys(metric for name in sorted(chosen) for metric in variants[name])
    return {
        metric: fmean(variance(variants[name][metric]["seeds"]) for name in chosen if metric in variants[name]) ** 0.5
        for metric in metrics
    }


def main() -> None:
    variants = json.loads(Path("docs/results/variants.json").read_text())["variants"]
    print("spread:")
    for metric, deviation in pooled(variants, VARIANTS).items():
        print(f"  {metric}: {deviation:.2f}")


if __name__ == "__main__":
    main()
