"""The section about training: curves, and the crops that were learnt from."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fabnet import tables
from fabnet.figures.contact_sheet import contact_sheet
from fabnet.figures.curves import learning_curves, loss_table
from fabnet.files import atomic_file, read_json
from fabnet.frames.store import FrameStore
from fabnet.report.attempt import attempt
from fabnet.report.blocks import Block, Gap, Section
from fabnet.report.pictures import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Identities, and frames of each, on the sheet of crops.
_SHEET = (5, 10)


def training(models: Mapping[str, Path], frames: Path, out: Path) -> Section:
    """Draw curves and crops.

    Args:
        models: folders as `train` writes them, by name.
        frames: data/frames.
        out: folder of the PNGs, and of curves/NAME.csv for `dvc plots`.
    """
    blocks: list[Block] = [
        picture(
            out / "learning_curves.png",
            "Training and validation loss of every variant against samples seen",
            "Losses of different objectives do not compare, hence the panels. Grey bands are the windows of a "
            "curriculum: the percentiles of a batch's losses that were learnt from.",
            partial(_curves, models),
            80,
        ),
        picture(
            out / "crops.png",
            "Frames of five tracks, a row each",
            "Crops as the networks see them: a track a row, in the order of time.",
            partial(_crops, frames),
            70,
        ),
    ]
    gaps = [
        attempt(f"losses of {name} as CSV", partial(_losses, path, out / "curves" / f"{name}.csv"))
        for name, path in models.items()
    ]
    blocks += [gap for gap in gaps if isinstance(gap, Gap)]
    return Section("Training", "training", blocks)


def _curves(models: Mapping[str, Path]) -> "Figure":
    histories = {name: tables.read(path / "history.parquet", tables.History) for name, path in models.items()}
    objectives = {name: read_json(path / "model.json")["objective"] for name, path in models.items()}
    windows = {name: path / "curriculum.parquet" for name, path in models.items()}
    curricula = {name: tables.read(path, tables.Curriculum) for name, path in windows.items() if path.is_file()}
    return learning_curves(histories, objectives, curricula)


def _losses(model: Path, path: Path) -> None:
    table: pd.DataFrame = loss_table(tables.read(model / "history.parquet", tables.History))
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def _crops(frames: Path) -> "Figure":
    """Frames of the first tracks that are long enough."""
    store = FrameStore(frames)
    rows, columns = _SHEET
    longest = min(columns, int(store.tracks.length.max()))
    chosen = np.flatnonzero(store.tracks.length >= longest)[:rows]
    crops = store.decode((store.tracks.start[chosen][:, None] + np.arange(longest)).ravel())
    return contact_sheet(crops.reshape(len(chosen), longest, *crops.shape[1:]))
