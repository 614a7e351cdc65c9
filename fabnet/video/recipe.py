"""The crop recipe: everything that decides what the pixels of a crop are. It travels with all that is made of them."""

from typing import Any

from fabnet.config import ExtractParams
from fabnet.files import hash_json

#: Raise it when a change of the code changes pixels.
VERSION = 1


def recipe(params: ExtractParams) -> dict[str, Any]:
    """The content of crop.json.

    `hash` covers what changes the pixels of a crop, and so not `fps`, which only changes how many crops there are.
    """
    pixels = {
        "source": params.source,
        "margin": params.margin if params.source == "boxes" else 0.0,
        "size": params.size,
        "jpeg_quality": params.jpeg_quality,
        "jpeg_chroma": "4:4:4",
        "resize": "area",
        "version": VERSION,
    }
    return {**pixels, "fps": params.fps, "hash": hash_json(pixels)}
