"""How a model was trained: its curves, and the windows of its curriculum over them."""

from pathlib import Path

from matplotlib.figure import Figure

from fabnet import tables
from fabnet.errors import UserError
from fabnet.figures.curves import learning_curves
from fabnet.files import read_json


def draw_curves(model: Path) -> Figure:
    """Learning curves of the model in a folder, as `train` writes it.

    Raises:
        UserError: it has no history.
    """
    history, curriculum = model / "history.parquet", model / "curriculum.parquet"
    if not history.is_file():
        raise UserError(f"{history}: no such file; only models that were trained here have curves")
    windows = {model.name: tables.read(curriculum, tables.Curriculum)} if curriculum.is_file() else {}
    objective = read_json(model / "model.json")["objective"]
    return learning_curves({model.name: tables.read(history, tables.History)}, {model.name: objective}, windows)
