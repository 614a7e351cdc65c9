"""The model card of a version, in Markdown."""

from collections.abc import Mapping
from typing import Any

from fabnet import __version__
from fabnet.report.markdown import table
from fabnet.report.score_tables import score_table
from fabnet.tracking.registry.contents import Contents

_LIMITS = """\
- It sees one face at a time, cut as the recipe below says. A face cut otherwise gives numbers, but not these.
- It learnt without labels from the people in its training videos. Faces unlike theirs, in age, skin, light or camera,
  are read less well; the scores say nothing of people outside the test sets.
- Scores of a drawn (synthetic) set tell how the pipeline works, not how well the model reads photographs.
- The probes are linear maps trained on the labelled set named below; their errors come on top of the embedding's."""

_USE = """\
Research on facial attributes: embeddings of faces for linear probes of pose, landmarks, action units and expression.
Not for identifying people, and not for decisions about anybody: an expression is no evidence of what a person feels."""


def model_card(contents: Contents, scores: Mapping[str, Mapping[str, Any]], licence: str) -> str:
    """The page.

    Args:
        scores: by labelled set and metric, as in metrics.json.
        licence: first line of the project's licence.
    """
    card, recipe = contents.card, contents.card["recipe"]
    rows = [
        ("variant", contents.variant),
        ("objective", card["objective"]),
        ("weights (SHA-256)", f"`{contents.weights}`"),
        ("input", f"a square face crop; resized to {card['image_size']} px"),
        ("output", f"{card['embedding_dim']} numbers" + (" and what the probes read" if contents.heads else "")),
        ("registered by", f"fabnet {__version__}"),
        ("licence of code and weights", f"{licence}; the data's own licences bind what was learnt from them"),
    ]
    data = [("training data", path, md5) for path, md5 in contents.train.deps.items() if path.startswith("data/")]
    for name, entry in contents.probes.items():
        others = ("fabnet/", "stages/", "embeddings/")
        data += [(f"labelled set `{name}`", p, md5) for p, md5 in entry.deps.items() if not p.startswith(others)]
    parts = [
        f"# {contents.variant}",
        "An encoder of facial attributes, learnt from talking-face videos without labels (Wiles et al., BMVC 2018).",
        _table(("", ""), rows),
        "## Intended use",
        _USE,
        "## Data",
        _table(("what", "path", "hash in dvc.lock"), [(what, f"`{p}`", f"`{md5}`") for what, p, md5 in data]),
        "## Crop recipe",
        _table(("key", "value"), [(key, f"`{value}`") for key, value in sorted(recipe.items())]),
        "## Scores",
        "Linear probes on the frozen embedding; in brackets the 95 % bootstrap interval over test identities.",
        *(f"Labelled set `{name}`:\n\n{table(score_table({contents.variant: row}))}" for name, row in scores.items()),
        "## Limits",
        _LIMITS,
        "## Training",
        _table(("param", "value"), [(key, f"`{value}`") for key, value in sorted(card["params"].items())]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])
