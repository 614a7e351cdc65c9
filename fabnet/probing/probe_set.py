"""Linear probes on all embeddings of a labelled set, and what they predict on its test faces."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from fabnet import tables
from fabnet.attributes.sets import LabelledSet, targets
from fabnet.config import BootstrapParams, ProbeParams
from fabnet.errors import UserError
from fabnet.files import read_json, write_json
from fabnet.probing.embeddings import encoders_of
from fabnet.probing.evaluate import probe_constant, probe_embeddings, rows_by_split
from fabnet.probing.low_label import constant_curve, unseen_in_draws
from fabnet.probing.origin import require_set
from fabnet.probing.predictions import open_writer
from fabnet.probing.problem import Problem, absent_by_split
from fabnet.probing.saved import write_heads
from fabnet.processes import ordered_map
from fabnet.progress import track


def open_embeddings(directory: Path, set_name: str) -> dict[str, Path]:
    """The folders of embeddings/SET by encoder, if each says that it holds what it is looked for.

    Raises:
        UserError: there are none, or they are of another set or encoder.
    """
    encoders = encoders_of(directory)
    for encoder, path in encoders.items():
        meta = read_json(path / "meta.json")
        require_set(meta, set_name, path)
        if meta["encoder"] != encoder:
            told = f"says that it holds embeddings of {meta['encoder']}"
            raise UserError(f"{path}: meta.json {told}, not of {encoder}; embed the set again")
    return encoders


def probe_set(
    labelled: LabelledSet,
    encoders: Mapping[str, Path],
    params: ProbeParams,
    report: BootstrapParams,
    size: int,
    out: Path,
) -> None:
    """Probe every encoder, and the constant predictor beside them; encoders are spread over processes.

    Args:
        encoders: folders of embeddings by encoder, as `open_embeddings` gives them.
        report: resamples and seed of the intervals of low-label curves.
        size: side in pixels of the crops that landmark predictions are given in.
        out: folder of predictions.parquet, low_label.parquet, choices.json and heads/ENCODER.npz.

    Raises:
        UserError: a split has too few faces, a person is in two, or embeddings are damaged.
    """
    table = labelled.table()
    rows = rows_by_split(table, f"sets.{labelled.name}")
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    choices: dict[str, object] = {
        "absent": absent_by_split(problems, rows),
        "low_label": unseen_in_draws(problems, rows["train"], params),
    }
    curves = [constant_curve(problems, table, rows, params, report)]
    probe = partial(
        probe_embeddings, problems=problems, table=table, rows=rows, params=params, size=size, report=report
    )
    # Those with the most to do first, so that no process is left with one of them at the end.
    dimensions = {path: read_json(path / "meta.json")["dimension"] for path in encoders.values()}
    widest = sorted(dimensions, key=lambda path: -dimensions[path])
    results = track(ordered_map(probe, widest, workers=0), f"probe@{labelled.name}", len(widest), "encoder")
    with open_writer(out / "predictions.parquet") as writer:
        for part in probe_constant(problems, table, rows, size):
            writer.add(part)
        for result in results:
            choices[result.encoder] = result.choices
            curves.append(result.curve)
            if result.meta["weights_sha256"]:  # others than trained encoders cannot embed a new face
                origin = {key: result.meta[key] for key in ("encoder", "set", "weights_sha256", "recipe_hash")}
                write_heads(out / "heads" / f"{result.encoder}.npz", result.probes, problems, origin)
            for part in result.predictions:
                writer.add(part)
    tables.write(pd.concat(curves, ignore_index=True), out / "low_label.parquet", tables.LowLabel)
    write_json(out / "choices.json", choices)
