"""Nearest neighbours among frames of the videos of test identities, as the paper shows them (Fig. 5)."""

from pathlib import Path

from _run import run


def main() -> None:
    """models, data/frames, data/splits.parquet -> retrieval/frames, reports/retrieval/frames"""
    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.frames.store import FrameStore
    from fabnet.leftovers import check_leftovers
    from fabnet.retrieval.retrieve import retrieve_frames

    params = load_params()
    check_leftovers()
    splits = tables.read("data/splits.parquet", tables.Splits)
    retrieve_frames(
        FrameStore("data/frames"),
        splits["identity"][splits["split"] == "test"].tolist(),
        {name: Path("models", name) for name in params.train.names},
        params.retrieve,
        params.embed.batch_size,
        out=Path("retrieval/frames"),
        reports=Path("reports/retrieval/frames"),
    )


if __name__ == "__main__":
    run(main, one_thread=True)
