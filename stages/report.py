"""Scores of every encoder, in metrics.json and as a report with pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from _run import run

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from torch import Tensor

    from fabnet.frames.store import FrameStore

# Pairs and scenes shown for each variant that warps; identities and frames of each on the sheet of crops.
PAIRS = 10
SCENES = 8
SHEET = (5, 10)


def main() -> None:
    """probes, models, pictures, data/frames -> metrics.json, reports/{results.md, crosscheck.json, training}"""
    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.figures.contact_sheet import contact_sheet
    from fabnet.figures.curves import learning_curves, loss_table
    from fabnet.figures.save import save
    from fabnet.files import atomic_file, read_json, write_json
    from fabnet.frames.store import FrameStore
    from fabnet.probing.intervals import areas_by_column, score
    from fabnet.probing.predictions import encoders_and_probes, read_predictions
    from fabnet.probing.results import report_markdown
    from fabnet.quality.metrics import metrics_frame

    params = load_params()
    scores: dict[str, dict[str, dict[str, Any]]] = {"torch": {}, "sklearn": {}}
    areas: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for set_name in params.sets:
        path = Path("probes") / set_name / "predictions.parquet"
        areas[set_name] = {}
        for encoder, probe in encoders_and_probes(path):
            predictions = read_predictions(path, encoder, probe)
            scores[probe].setdefault(set_name, {})[encoder] = score(
                predictions, params.report.bootstrap, params.report.seed
            )
            if probe == "torch":
                for task in {"units", "expression"} & set(predictions["task"]):
                    areas[set_name].setdefault(task, {})[encoder] = areas_by_column(predictions, task)

    figures = Path("reports/training")
    cards = {name: read_json(Path("models") / name / "model.json") for name in params.train.names}
    histories = {name: tables.read(Path("models") / name / "history.parquet", tables.History) for name in cards}
    windows = {name: Path("models") / name / "curriculum.parquet" for name in cards}
    curricula = {name: tables.read(path, tables.Curriculum) for name, path in windows.items() if path.is_file()}
    save(learning_curves(histories, curricula), figures / "learning_curves.png", dpi=80)
    for name, history in histories.items():  # for `dvc plots`
        with atomic_file(figures / "curves" / f"{name}.csv") as temporary:
            loss_table(history).to_csv(temporary, index=False, float_format="%.6g")
    store = FrameStore("data/frames")
    save(contact_sheet(_crops(store)), figures / "crops.png", dpi=70)
    for name, card in cards.items():
        if card["objective"] == "fabnet":
            save(_panels(name, store), figures / f"reconstructions_{name}.png", dpi=80)
        if card["sources"] > 1:
            save(_confidences(name, store, card["sources"]), figures / f"confidence_{name}.png", dpi=80)

    # By name: a set that was removed from params.yaml leaves its pictures behind.
    folders = [Path("reports/training"), Path("reports/audit"), *(Path("reports/sets") / name for name in params.sets)]
    pictures = [str(path.relative_to("reports")) for folder in folders for path in sorted(folder.glob("*.png"))]
    text = report_markdown(scores, areas, cards, read_json("reports/data/frames.json"), pictures)
    with atomic_file("reports/results.md") as temporary:
        temporary.write_text(text)
    write_json("reports/crosscheck.json", scores["sklearn"])
    tables.check(metrics_frame(scores["torch"], "metrics.json"), tables.Metrics, "metrics.json")
    write_json("metrics.json", scores["torch"])


def _crops(store: "FrameStore") -> "np.ndarray":
    """Frames of the first tracks that are long enough, a row each."""
    import numpy as np

    rows, columns = SHEET
    longest = min(columns, int(store.tracks.length.max()))
    chosen = np.flatnonzero(store.tracks.length >= longest)[:rows]
    crops = store.decode((store.tracks.start[chosen][:, None] + np.arange(longest)).ravel())
    return crops.reshape(len(chosen), longest, *crops.shape[1:])


def _panels(variant: str, store: "FrameStore") -> "Figure":
    """What a variant makes of pairs of frames of test identities, which it has never seen."""
    import torch

    from fabnet.figures.flow import reconstruction_panels
    from fabnet.networks.build import load_model
    from fabnet.networks.fabnet import FabNet
    from fabnet.networks.warp import warp

    model, _ = load_model(Path("models") / variant)
    assert isinstance(model, FabNet)
    target, source = _scenes(store, 2, PAIRS)
    with torch.inference_mode():
        flow = model.flow(source, target)
        generated = warp(source, flow)
    return reconstruction_panels(_pictures(source), _pictures(target), _pictures(generated), flow.numpy())


def _confidences(variant: str, store: "FrameStore", sources: int) -> "Figure":
    """Shares of the sources; in the right half of the scenes, noise stands in place of the last source."""
    import numpy as np
    import torch

    from fabnet.figures.confidence import confidence_panels
    from fabnet.networks.build import load_model
    from fabnet.networks.fabnet import FabNet

    model, _ = load_model(Path("models") / variant)
    assert isinstance(model, FabNet)
    views = _scenes(store, 1 + sources, SCENES)
    noisy = SCENES // 2
    views[-1, noisy:] = 2 * torch.rand(views[-1, noisy:].shape, generator=torch.Generator().manual_seed(0)) - 1
    with torch.inference_mode():
        made = model.reconstruct(views)
    shown = [_pictures(view) for view in (*views[1:], views[0], made.generated)]
    titles = ["", *[""] * (noisy - 1), *[f"source {sources} is noise"] * (SCENES - noisy)]
    target, generated = shown[sources:]
    shares = made.confidence[:, :, 0].numpy()
    return confidence_panels(np.stack(shown[:sources]), target, generated, shares, titles)


def _scenes(store: "FrameStore", views: int, count: int) -> "Tensor":
    """Frames (views, count, 3, H, W) in [-1, 1] of test identities, targets first."""
    import numpy as np
    import torch

    from fabnet import tables
    from fabnet.frames.augment import to_float
    from fabnet.frames.pairs import PairSampler

    splits = tables.read("data/splits.parquet", tables.Splits)
    tracks = store.select(splits["identity"][splits["split"] == "test"])
    start, length = store.tracks.start[tracks], store.tracks.length[tracks]
    rows = PairSampler(start, length, store.tracks.identity[tracks], views, seed=0).draw(np.arange(count)).rows.T
    return to_float(torch.from_numpy(store.decode(rows.ravel()))).unflatten(0, rows.shape)


def _pictures(images: "Tensor") -> "np.ndarray":
    pictures: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return pictures


if __name__ == "__main__":
    run(main)
