"""Which variants were trained, on what; their curves, and the crops that they learnt from."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fabnet import tables
from fabnet.figures.curves import learning_curves, loss_table
from fabnet.figures.pictures import Gap, attempt, picture
from fabnet.figures.sheets import contact_sheet
from fabnet.files import atomic_file, read_json, write_json
from fabnet.frames.store import FrameStore
from fabnet.report.blocks import NOTHING, Block, Content, Table, Text

#: {variant: percent that its validation loss is below that of copying, null where its objective has none}
COPYING = Path("reports/training/copying.json")

#: Identities, and frames of each, on the sheet of crops.
_SHEET = (5, 10)
#: Fewer samples teach a network hardly anything, and fewer test faces tell hardly anything of it.
_FEW_SAMPLES, _FEW_FACES = 2_000, 100


def what_ran(
    cards: Mapping[str, Mapping[str, Any]], unread: Sequence[Gap] = (), experiment: str | None = None
) -> Content:
    """A line per variant.

    Args:
        cards: model.json of each trained variant.
        unread: those that could not be read.
        experiment: its page on an MLflow server, if runs are to be linked.
    """
    head = ["variant", "objective", "image", "samples", "best step", "validation loss", "below copying"]
    head += ["weights", "crop recipe"]
    rows = [
        [
            name,
            card["objective"],
            f"{card['image_size']} px",
            str(card["params"]["samples"]),
            str(card["best_step"]),
            f"{card['best_validation_loss']:.4f}",
            _below_copying(card),
            _linked(f"`{card['weights_sha256'][:12]}`", experiment, card["weights_sha256"]),
            f"`{card['recipe']['hash']}`",
        ]
        for name, card in cards.items()
    ]
    yield Table(head, rows)
    yield from unread
    yield Text(
        "Each variant is a run of MLflow, named `train@VARIANT` or `finetune@VARIANT` and found by the tag "
        "`weights.sha256`: `mlflow ui` shows it"
        + (", as do the links above" if experiment else "")
        + ", `fabnet track sync` rebuilds it, and `dvc.lock` ties it to code, params and data."
    )
    yield from _params(cards)


def caution(cards: Mapping[str, Mapping[str, Any]], faces: Mapping[str, int]) -> Content:
    """What a reader has to know first of a run that is too small for its scores to mean anything; else nothing.

    Args:
        cards: model.json of each trained variant.
        faces: test faces by labelled set.
    """
    samples = max((int(card["params"]["samples"]) for card in cards.values()), default=_FEW_SAMPLES)
    reasons = [f"no variant learnt from more than {samples:,} samples"] if samples < _FEW_SAMPLES else []
    reasons += [f"`{name}` has {count} test faces" for name, count in faces.items() if count < _FEW_FACES]
    for name, card in cards.items():
        share = card.get("below_copying_pct")
        if share is not None and share < 100 * card["params"]["copying"]["share"]:
            yield Text(
                f"**`{name}` still copies**: its validation loss is {share:.1f} % below that of showing the source "
                "unchanged, so that its embedding says little of faces."
            )
    if reasons:
        yield Text(
            f"**The scores of this run mean nothing**: {', and '.join(reasons)}. It shows that the pipeline works, and "
            "what a report looks like."
        )


def _below_copying(card: Mapping[str, Any]) -> str:
    share = card.get("below_copying_pct")
    return NOTHING if share is None else f"{share:.1f} %"


def _linked(text: str, experiment: str | None, weights: str) -> str:
    """A link to the run that made these weights, by what an MLflow server finds."""
    if experiment is None:
        return text
    wanted = quote(f'tags.`weights.sha256` = "{weights}"')
    return f"[{text}]({experiment}/runs?searchFilter={wanted})"


def _params(cards: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """A column for every param that variants differ in; the others, which all have, in a line."""
    params = {name: card["params"] for name, card in cards.items()}
    keys = list(dict.fromkeys(key for values in params.values() for key in values))
    shown = {name: {key: _cell(values.get(key)) for key in keys} for name, values in params.items()}
    differing = [key for key in keys if len({values[key] for values in shown.values()}) > 1]
    alike = ", ".join(
        f"{key} {values}" for key, values in next(iter(shown.values()), {}).items() if key not in differing
    )
    rows = [[name, *(values[key] for key in differing)] for name, values in shown.items()]
    table: list[Block] = [Table(["params", *differing], rows)] if differing else []
    return [*table, Text(f"All of them: {alike}.")] if alike else table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else "none" if value is None else str(value)


def training(models: Mapping[str, Path], frames: Path, out: Path) -> Content:
    """Draw curves and crops.

    Args:
        models: folders as `train` writes them, by name.
        frames: data/frames.
        out: folder of the PNGs, and of curves/NAME.csv for `dvc plots`.
    """
    yield picture(
        out / "learning_curves.png",
        "Training and validation loss of every variant against samples seen",
        "Losses of different objectives do not compare, hence the panels. Grey bands are the windows of a "
        "curriculum: the percentiles of a batch's losses that were learnt from. Dashed: the loss of showing the source "
        "unchanged, of several sources the closest one or their mean, on the validation samples.",
        partial(_curves, models),
        80,
    )
    yield picture(
        out / "crops.png",
        "Frames of five tracks, a row each",
        "Crops as the networks see them: a track a row, in the order of time.",
        partial(_crops, frames),
        70,
    )
    for name, path in models.items():
        written = attempt(f"losses of {name} as CSV", partial(_losses, path, out / "curves" / f"{name}.csv"))
        if isinstance(written, Gap):
            yield written
    written = attempt("how far below copying each variant is", partial(_write_copying, models, out / COPYING.name))
    if isinstance(written, Gap):
        yield written


def _curves(models: Mapping[str, Path]) -> Figure:
    histories = {name: tables.read(path / "history.parquet", tables.History) for name, path in models.items()}
    objectives = {name: read_json(path / "model.json")["objective"] for name, path in models.items()}
    windows = {name: path / "curriculum.parquet" for name, path in models.items()}
    curricula = {name: tables.read(path, tables.Curriculum) for name, path in windows.items() if path.is_file()}
    return learning_curves(histories, objectives, curricula)


def _write_copying(models: Mapping[str, Path], path: Path) -> None:
    cards = {name: read_json(folder / "model.json") for name, folder in models.items()}
    write_json(path, {name: card.get("below_copying_pct") for name, card in cards.items()})


def _losses(model: Path, path: Path) -> None:
    table: pd.DataFrame = loss_table(tables.read(model / "history.parquet", tables.History))
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def _crops(frames: Path) -> Figure:
    """Frames of the first tracks that are long enough."""
    store = FrameStore(frames)
    rows, columns = _SHEET
    longest = min(columns, int(store.tracks.length.max()))
    chosen = np.flatnonzero(store.tracks.length >= longest)[:rows]
    crops = store.decode((store.tracks.start[chosen][:, None] + np.arange(longest)).ravel())
    return contact_sheet(crops.reshape(len(chosen), longest, *crops.shape[1:]))
