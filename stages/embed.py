"""Embed a labelled set with every trained variant."""

from pathlib import Path
from typing import Annotated

import typer
from _run import run


def main(set_name: Annotated[str, typer.Argument(metavar="SET", help="a key of `sets` in params.yaml")]) -> None:
    """models/* + the labelled set -> embeddings/SET/trained"""
    from fabnet.attributes.sets import iterate_crops, open_set
    from fabnet.config import load_params
    from fabnet.leftovers import check_leftovers
    from fabnet.networks.build import load_model
    from fabnet.networks.embed import embed_images
    from fabnet.probing.embeddings import write_embeddings
    from fabnet.progress import track

    params = load_params()
    check_leftovers()
    labelled = open_set(set_name, params.labelled_set(set_name))
    face_ids = labelled.table()["face_id"].tolist()
    batch = params.embed.batch_size
    for variant in params.train.names:
        model, card = load_model(Path("models") / variant)
        crops = (images for _, images in iterate_crops(labelled, card["image_size"], batch))
        batches = track(embed_images(model.encoder, crops), f"embed {variant}", -(-len(face_ids) // batch), "batches")
        meta = {
            "encoder": variant,
            "set": set_name,
            "weights_sha256": card["weights_sha256"],
            "recipe_hash": card["recipe"]["hash"],
        }
        out = Path("embeddings") / set_name / "trained" / variant
        write_embeddings(out, face_ids, batches, card["embedding_dim"], len(face_ids), meta)


if __name__ == "__main__":
    run(main)
