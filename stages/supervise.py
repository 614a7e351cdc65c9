"""A network trained from scratch on the labels of a set: what an embedding that saw none is compared with."""

from typing import Annotated

import typer
from _run import run


def main(name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """the labelled set -> supervised/SET"""
    from pathlib import Path

    from fabnet import tracking
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.supervised.supervise import supervise
    from fabnet.tracking.probing_record import supervised_record

    params = load_params()
    labelled = open_set(name, params.labelled_set(name))
    out, work = Path("supervised", name), Path(".work", "supervise", name)
    run_params = params.supervise.model_dump()
    with tracking.run(
        stage="supervise",
        name=f"supervise@{name}",
        params={"set": name, **run_params},
        dependencies=[Path("reports/data/sets", f"{name}.json")],
        outs=[out],
    ) as logged:
        supervise(name, labelled, params.supervise, params.extract.image_size, out, work)
        logged.log(supervised_record(name, out, run_params))


if __name__ == "__main__":
    run(main)
