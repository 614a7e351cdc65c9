"""Frames of each two splits, compared -> reports/audit/{pairs.json, pairs.html, closest.png}: is anybody in both?"""

from pathlib import Path
from typing import TYPE_CHECKING

from _run import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fabnet.frames.store import FrameStore
    from fabnet.quality.identity_audit import Pair


def main() -> None:
    """data/frames, data/splits.parquet, models/VARIANT -> reports/audit"""
    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.errors import UserError
    from fabnet.figures.save import save
    from fabnet.frames.store import FrameStore
    from fabnet.networks.build import load_model
    from fabnet.networks.embed import embed_images
    from fabnet.quality.identity_audit import audit_identities, pixels

    params = load_params()
    variant = params.health.audit.variant or params.train.names[0]
    if variant not in params.train.names:
        raise UserError(
            f"params.yaml: health.audit.variant: there is no {variant}; there are {', '.join(params.train.names)}"
        )
    store = FrameStore("data/frames")
    model, card = load_model(Path("models") / variant)
    if card["image_size"] != store.size:
        raise UserError(f"models/{variant}: is for crops of {card['image_size']} pixels, data/frames has {store.size}")
    table = tables.read("data/splits.parquet", tables.Splits)
    verdict, pairs = audit_identities(
        store,
        dict(zip(table["identity"], table["split"], strict=True)),
        tables.SPLITS,
        {"pixels": pixels, f"embedding ({variant})": lambda images: next(embed_images(model.encoder, [images]))},
        params.health,
    )
    out = Path("reports/audit")
    verdict.write(out, "pairs")
    save(_pictures(pairs, store), out / "closest.png", dpi=75)
    verdict.require(out / "pairs.html")


def _pictures(pairs: list["Pair"], store: "FrameStore") -> "Figure":
    import numpy as np

    from fabnet.figures.closest_pairs import closest_pairs
    from fabnet.quality.identity_audit import name_of

    images: dict[str, np.ndarray] = {}
    captions: dict[str, list[tuple[str, str, str]]] = {}
    for view in dict.fromkeys(pair.view for pair in pairs):
        mine = [pair for pair in pairs if pair.view == view]
        captions[view] = []
        images[view] = np.zeros((len(mine), 3, store.size, store.size, 3), dtype=np.uint8)
        for row, pair in zip(images[view], mine, strict=True):
            row[:2] = store.decode([pair.frame, pair.nearest])
            other, split = pair.splits.split(", ")
            own = "none was sampled"
            if pair.own is not None:
                row[2:] = store.decode([pair.own])
                own = f"frame {name_of(store, pair.own)[2]}\n{pair.own_distance:.3g} away"
            person, _, number = name_of(store, pair.frame)
            captions[view].append(
                (
                    f"{person} ({split})\nframe {number}",
                    f"{name_of(store, pair.nearest)[0]} ({other})\n{pair.distance:.3g} away",
                    own,
                )
            )
    return closest_pairs(images, captions)


if __name__ == "__main__":
    run(main, one_thread=True)
