"""Figures on disk."""

from pathlib import Path

from matplotlib.figure import Figure

from fabnet.files import atomic_file


def save(figure: Figure, path: Path | str, dpi: int = 100) -> None:
    """Write a PNG, the same bytes for the same figure."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")
