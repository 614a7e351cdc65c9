"""Linear probes on the embeddings of a labelled set: predictions for its test faces."""

from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """embeddings/SET + the labels -> probes/SET"""
    from functools import partial
    from pathlib import Path

    import pandas as pd

    from fabnet import tables, tracking
    from fabnet.attributes.sets import open_set, targets
    from fabnet.config import load_params
    from fabnet.errors import UserError
    from fabnet.figures.pose import pose_scatter
    from fabnet.files import read_json, write_json
    from fabnet.leftovers import check_leftovers
    from fabnet.parallel import ordered_map
    from fabnet.probing.absence import absent_by_split
    from fabnet.probing.evaluate import probe_constant, probe_embeddings, rows_by_split
    from fabnet.probing.intervals import arrays, score
    from fabnet.probing.low_label import constant_curve, unseen_in_draws
    from fabnet.probing.origin import require_set
    from fabnet.probing.predictions import open_writer
    from fabnet.probing.problem import Problem
    from fabnet.probing.saved import write_heads
    from fabnet.progress import track

    params = load_params()
    check_leftovers()
    labelled = open_set(name, params.labelled_set(name))
    source, out, size = Path("embeddings", name), Path("probes", name), params.extract.image_size
    encoders = {path.parent.name: path.parent for path in sorted(source.glob("*/*/meta.json"))}
    if not encoders:
        raise UserError(f"{source}: holds no embeddings; run `dvc repro` to make them")
    metas = {encoder: read_json(directory / "meta.json") for encoder, directory in encoders.items()}
    for encoder, meta in metas.items():
        require_set(meta, name, encoders[encoder])
        if meta["encoder"] != encoder:
            told = f"says that it holds embeddings of {meta['encoder']}"
            raise UserError(f"{encoders[encoder]}: meta.json {told}, not of {encoder}; embed the set again")
    table = labelled.table()
    rows = rows_by_split(table, f"sets.{name}")
    problems = [Problem(task.name, task.loss, targets(table, task), task.outputs) for task in labelled.tasks]
    run_params = {"set": name, "encoders": ",".join(encoders), **params.probe.model_dump()}
    origins = [directory / "meta.json" for directory in encoders.values()]
    with (
        tracking.run(
            stage="probe", name=f"probe@{name}", params=run_params, dependencies=origins, outs=[out]
        ) as logged,
        open_writer(out / "predictions.parquet") as writer,
    ):
        constant = probe_constant(problems, table, rows, size)
        for part in constant:
            writer.add(part)
        few = unseen_in_draws(problems, rows["train"], params.probe)
        choices: dict[str, object] = {"absent": absent_by_split(problems, rows), "low_label": few}
        curves = [constant_curve(problems, table, rows, params.probe, params.report)]
        metrics = {f"constant/{metric}": values["value"] for metric, values in score(constant[0], 0, 0).items()}
        # Those with the most to do first, so that no process is left with one of them at the end.
        widest = sorted(encoders, key=lambda encoder: -metas[encoder]["dimension"])
        probe = partial(
            probe_embeddings,
            problems=problems,
            table=table,
            rows=rows,
            params=params.probe,
            size=size,
            report=params.report,
        )
        directories = [encoders[encoder] for encoder in widest]
        for probed in track(ordered_map(probe, directories, workers=0), f"probe@{name}", len(widest), "encoder"):
            encoder, parts, meta = probed.encoder, probed.predictions, probed.meta
            choices[encoder] = probed.choices
            curves.append(probed.curve)
            if meta["weights_sha256"]:  # others than trained encoders cannot embed a new face
                origin = {key: meta[key] for key in ("encoder", "set", "weights_sha256", "recipe_hash")}
                write_heads(out / "heads" / f"{encoder}.npz", probed.probes, problems, origin)
            for part in parts:
                writer.add(part)
                suffix = "" if part["probe"].iloc[0] == "torch" else "-sklearn"
                for metric, values in score(part, 0, 0).items():
                    metrics[f"{encoder}{suffix}/{metric}"] = values["value"]
            if (parts[0]["task"] == "pose").any():
                _, predicted, true = arrays(parts[0], "pose")
                logged.log_figure(f"pose_{encoder}.png", pose_scatter(true, {encoder: predicted[0]}))
        logged.log_metrics(metrics)
        tables.write(pd.concat(curves, ignore_index=True), out / "low_label.parquet", tables.LowLabel)
        write_json(out / "choices.json", choices)
        logged.log_artifact(out / "choices.json")


if __name__ == "__main__":
    run(main)
