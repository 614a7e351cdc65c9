"""Linear probes on the embeddings of a labelled set: predictions for its test faces."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """embeddings/SET + the labels -> probes/SET"""
    from fabnet import tracking
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.leftovers import check_leftovers
    from fabnet.probing.evaluate import open_embeddings, probe_set
    from fabnet.tracking.probing_record import probing_params, probing_record

    params = load_params()
    check_leftovers()
    labelled, out = open_set(name, params.labelled_set(name)), Path("probes", name)
    encoders = open_embeddings(Path("embeddings", name), name)
    values = params.probe.model_dump()
    with tracking.run(
        stage="probe",
        name=f"probe@{name}",
        params=probing_params(name, encoders, values),
        dependencies=[path / "meta.json" for path in encoders.values()],
        outs=[out],
    ) as logged:
        probe_set(labelled, encoders, params.probe, params.report, params.extract.image_size, out)
        logged.log(probing_record(name, out, values))


if __name__ == "__main__":
    run(main)
