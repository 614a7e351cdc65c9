"""Looking inside: what the trained networks do with frames of people they have not learnt from."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from fabnet.figures.pictures import Gap, Picture, attempt, save
from fabnet.files import read_json
from fabnet.inspection.drawing import DRAWINGS
from fabnet.inspection.scenes import Pool, PoolReadings, find_heads, open_pool, read_pool
from fabnet.report.blocks import Block, Content, Section, Text

_TITLES = {
    "warped": "Warped frames and flow",
    "confidence": "Which source is trusted where",
    "interpolation": "Between two embeddings",
    "transfer": "One person moved as another",
}
# Drawn of the first network only; `fabnet figure` draws them of any.
_ONCE = ("interpolation", "transfer")
_DPI = 80


def inside(models: Mapping[str, Path], frames: Path, splits: Path, probes: Path, out: Path) -> Content:
    """Figures of every FAb-Net among the models; those of other objectives have no flow to show.

    A figure that fails becomes a gap that says why, and the others are drawn all the same.

    Args:
        models: folders as `train` writes them, by name, in the order of the report.
        frames, splits, probes: data/frames, data/splits.parquet and the folder probes.
        out: folder of the PNGs, NAME_VARIANT.png.
    """
    warping = {name: path for name, path in models.items() if read_json(path / "model.json")["objective"] == "fabnet"}
    if not warping:
        yield Text("No model of objective `fabnet` was trained.")
        return
    pool = attempt("figures of the networks", lambda: open_pool(frames, splits))
    if isinstance(pool, Gap):
        yield pool
        return
    blocks: dict[str, list[Block]] = {name: [] for name in DRAWINGS}
    yield Text(
        "Frames of test identities, whom the networks have not seen; which are shown is decided by rule or by "
        "chance. `fabnet figure NAME --model models/VARIANT --out FILE.png` draws each of these of any network."
    )
    for number, (variant, path) in enumerate(warping.items()):
        seen = attempt(f"figures of {variant}", partial(_open, path, pool, probes))
        if isinstance(seen, Gap):
            yield seen
            continue
        for name in DRAWINGS:
            if (name in _ONCE and number > 0) or (name == "confidence" and seen.network.sources == 1):
                continue
            blocks[name].append(_figure(name, variant, seen, out / f"{name}_{variant}.png"))
    for name, found in blocks.items():
        if found:
            yield Section(_TITLES[name], f"inside-{name}", found)


def _open(model: Path, pool: Pool, probes: Path) -> PoolReadings:
    return read_pool(model, pool, find_heads(model, probes))


def _figure(name: str, variant: str, seen: PoolReadings, path: Path) -> Block:
    if name == "transfer" and len(seen.pool.tracks()) < 2:  # small data, not a failure
        return Text("Not drawn: it takes two test identities, and there is one.")

    def make() -> Picture:
        drawn = DRAWINGS[name](seen)
        save(drawn.figure, path, dpi=_DPI)
        return Picture(path, f"{variant}: {drawn.alt}", f"**{variant}.** {drawn.caption}")

    return attempt(f"{_TITLES[name]}, {variant}", make)
