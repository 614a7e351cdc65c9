"""data/frames -> data/splits.parquet: who is learnt from, and who is kept for validation and test."""

from pathlib import Path

from _run import run


def main() -> None:
    import pandas as pd

    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.frames.split import identities_of, split_identities

    params = load_params().split
    percent = {name: getattr(params, name) for name in tables.SPLITS}
    splits = split_identities(identities_of(Path("data/frames")), percent, params.seed)
    table = pd.DataFrame({"identity": splits.keys(), "split": splits.values()})
    tables.write(table, Path("data/splits.parquet"), tables.Splits)


if __name__ == "__main__":
    run(main)
