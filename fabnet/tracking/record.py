"""The content of a run, read from a stage's outputs: by the stage itself, or by `fabnet track sync`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Record:
    """A run's content, a function of a stage's outputs alone.

    Attributes:
        params: those that the stage depends on, resolved.
        inputs: SHA-256 of the files that stand for its inputs, by path; together with params they make up pipeline.id.
        history: (key, value, step).
        figures: by name, drawn when they are logged.
        artifacts: small files.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: tuple[tuple[str, float, int], ...] = ()
    figures: Mapping[str, "Callable[[], Figure]"] = field(default_factory=dict)
    artifacts: tuple[Path, ...] = ()
