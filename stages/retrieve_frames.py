"""Nearest neighbours among frames of the videos of test identities, as the paper shows them (Fig. 5)."""

from pathlib import Path

from _run import run


def main() -> None:
    """models, data/frames, data/splits.parquet -> retrieval/frames, reports/retrieval/frames"""
    import sys

    import numpy as np

    from fabnet import tables
    from fabnet.config import load_params
    from fabnet.files import atomic_directory, write_json
    from fabnet.frames.store import FrameStore
    from fabnet.leftovers import check_leftovers
    from fabnet.networks.build import load_model
    from fabnet.networks.embed import embed_images
    from fabnet.progress import track
    from fabnet.report.blocks import Gap
    from fabnet.report.drawn_retrieval import draw_rows, shown_encoders
    from fabnet.report.pictures import write_pictures
    from fabnet.report.searched import sample_of_frames
    from fabnet.retrieval.evaluation import Evaluation
    from fabnet.retrieval.sampling import frames_of, origins
    from fabnet.retrieval.tables import neighbours_frame, scores_frame

    params = load_params()
    check_leftovers()
    asked = params.retrieve
    store = FrameStore("data/frames")
    splits = tables.read("data/splits.parquet", tables.Splits)
    frames = frames_of(store, splits["identity"][splits["split"] == "test"].tolist(), asked.gallery, asked.seed)
    where = Path("reports/retrieval")
    if len(frames) <= asked.k:  # few videos are no reason to stop what comes after
        gap = {"neighbours": f"{len(frames)} frames of test identities are too few for {asked.k} neighbours of each"}
        with atomic_directory("retrieval/frames") as out:
            tables.write(tables.RetrievedFaces.empty_frame(), out / "neighbours.parquet", tables.RetrievedFaces)
        with atomic_directory(where / "frames") as out:
            write_pictures(out, [])
        write_json(where / "frames.json", {"faces": {"gallery": len(frames), "queries": 0}, "gaps": gap, "scores": {}})
        return

    named = origins(store, frames)
    ids = [f"{track_id}/{store.frame_no[row]}" for track_id, row in zip(named["track"], frames, strict=True)]
    searched = Evaluation(sample_of_frames(ids, named, asked), asked.k)
    variants = params.train.names
    shown = [name for name in shown_encoders(asked, variants, variants[0]) if name in variants]
    batch = params.embed.batch_size
    for name in track(variants, "retrieve_frames", len(variants), "encoder"):
        model, _ = load_model(Path("models") / name)
        images = (store.decode(frames[first : first + batch]) for first in range(0, len(frames), batch))
        searched.add(name, np.concatenate(list(embed_images(model.encoder, images))))
    results = searched.results(asked.reference)
    tables.check(scores_frame(results["scores"]), tables.RetrievalScores, f"{where}/frames.json")

    with atomic_directory("retrieval/frames") as out:
        found = neighbours_frame(ids, {name: searched.neighbours[name] for name in shown})
        tables.write(found, out / "neighbours.parquet", tables.RetrievedFaces)
    with atomic_directory(where / "frames") as out:
        crops = draw_rows(out, "frames", shown, searched, lambda some: store.decode(frames[some]), asked)
        pictures = list(crops)
        write_pictures(out, pictures)
    write_json(where / "frames.json", searched.summary(asked) | results)
    for each in pictures:  # the report shows them as gaps and, once it is written, fails
        if isinstance(each, Gap):
            print(f"warning: not made: {each.what}: {each.why}", file=sys.stderr)


if __name__ == "__main__":
    run(main, one_thread=True)
