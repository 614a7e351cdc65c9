"""What the run of a `probe` stage holds, read from probes/SET."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabnet.files import hash_file
from fabnet.probing.intervals import arrays, score
from fabnet.probing.predictions import encoders_and_probes, read_predictions
from fabnet.tracking.record import Record

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def probing_record(set_name: str, directory: Path | str, params: Mapping[str, Any]) -> Record:
    """The record of the probes on a labelled set.

    Args:
        directory: probes/SET. The embeddings are looked for at embeddings/SET beside `probes`: their descriptions are
            what the stage's inputs are known by.
        params: the section `probe` of params.yaml, resolved.

    Raises:
        TableError: the predictions are absent or illegal.
    """
    directory = Path(directory)
    predictions = directory / "predictions.parquet"
    metrics: dict[str, float] = {}
    figures: dict[str, Callable[[], Figure]] = {}
    encoders = []
    for encoder, probe in encoders_and_probes(predictions):
        if encoder == "constant" and probe != "torch":
            continue
        part = read_predictions(predictions, encoder, probe)
        name = encoder if probe == "torch" else f"{encoder}-{probe}"
        metrics |= {f"{name}/{metric}": float(values["value"]) for metric, values in score(part, 0, 0).items()}
        if encoder == "constant" or probe != "torch":
            continue
        encoders.append(encoder)
        if (part["task"] == "pose").any():
            _, predicted, true = arrays(part, "pose")
            figures[f"pose_{encoder}.png"] = partial(_pose, encoder, true, predicted[0])
    root = directory.parent.parent
    origins = sorted((root / "embeddings" / set_name).glob("*/*/meta.json"))
    return Record(
        params={"set": set_name, "encoders": ",".join(encoders), **params},
        inputs={path.relative_to(root).as_posix(): hash_file(path) for path in origins},
        metrics=metrics,
        figures=figures,
        artifacts=(directory / "choices.json",),
    )


def _pose(encoder: str, true: "np.ndarray", predicted: "np.ndarray") -> "Figure":
    from fabnet.figures.pose import pose_scatter

    return pose_scatter(true, {encoder: predicted})
