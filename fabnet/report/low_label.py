"""Scores of probes that learnt from few labels."""

import pandas as pd

from fabnet.report.blocks import Section, Table, Text
from fabnet.report.cells import NOTHING, TITLES, score_cell

_INTRODUCTION = (
    "Probes trained on a share of the labelled training faces, scored on all test faces: mean over draws of the share "
    "and seeds of the probe [95 % bootstrap interval over test identities]."
)


def low_label(name: str, table: pd.DataFrame) -> Section:
    """A table per metric, a column per share.

    Args:
        name: of the labelled set.
        table: of the contract LowLabel.
    """
    shares = table[["share", "faces"]].drop_duplicates().sort_values("share")
    head = [
        f"{row.share:.3g} % = {row.faces:,} faces" for row in shares.assign(share=100 * shares["share"]).itertuples()
    ]
    tables = []
    for metric in [metric for metric in TITLES if (table["metric"] == metric).any()]:
        part = table[table["metric"] == metric]
        rows = []
        for encoder in part["encoder"].drop_duplicates():
            mine = part[part["encoder"] == encoder].set_index("share").to_dict("index")
            rows.append(
                [
                    encoder,
                    *(score_cell(mine[s], bold=False) if s in mine else NOTHING for s in shares["share"]),
                ]
            )
        tables.append(Table([TITLES[metric], *head], rows))
    return Section("With few labels", f"{name}-low-label", [Text(_INTRODUCTION), *tables])
