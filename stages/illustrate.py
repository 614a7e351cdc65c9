"""Pictures of what the probes predict on a labelled set, and scores by bins of its faces."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(set_name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """probes/SET, supervised/SET + the labelled set -> reports/sets/SET"""
    import sys

    from fabnet import tables
    from fabnet.attributes.sets import open_set
    from fabnet.config import load_params
    from fabnet.files import atomic_directory, write_json
    from fabnet.report.attempt import attempt
    from fabnet.report.blocks import Gap
    from fabnet.report.drawn_set import SetPictures, first_seeds
    from fabnet.report.measured_slices import measure_slices
    from fabnet.report.pictures import write_pictures
    from fabnet.report.predicted import files_of, read_each

    params = load_params()
    labelled = open_set(set_name, params.labelled_set(set_name))
    files, size = files_of(set_name), params.extract.image_size
    few = Path("probes") / set_name / "low_label.parquet"
    with atomic_directory(Path("reports/sets") / set_name) as out:
        slices = attempt(
            f"{set_name}: scores by yaw, size and brightness",
            lambda: measure_slices(labelled, files, params.report, size),
        )
        drawn = SetPictures(
            labelled,
            {name: params.train.variant(name).objective for name in params.train.names},
            params.report.reference or params.train.names[0],
            size,
            first_seeds(read_each(files, "torch")),
            None if isinstance(slices, Gap) else slices,
            tables.read(few, tables.LowLabel) if few.is_file() else None,
        )
        pictures = list(drawn.draw(out))
        if isinstance(slices, Gap):
            pictures.append(slices)
        else:
            write_json(out / "slices.json", slices)
        write_pictures(out, pictures)
    # The report shows them as gaps and, once it is written, fails: a stage that failed here would have kept it away.
    for each in pictures:
        if isinstance(each, Gap):
            print(f"warning: not made: {each.what}: {each.why}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
