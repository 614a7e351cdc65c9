"""Every measure of health that params may set limits to, by table, and how to name a row of each table."""

from fabnet.config.health import MEASURES

#: Columns that name a row.
KEYS = {
    "splits": ("split",),
    "identities": ("identity",),
    "tracks": ("track_id",),
    "rejects": ("reason",),
    "sampled": ("track_id", "frame_no"),
    "duplicates": ("splits",),
    "shared": ("splits",),
    "closest": ("by", "splits"),
    "sets": ("split",),
    "labels": ("split", "label"),
    "drift": ("measure",),
}

#: What each measure is, with its unit, by TABLE.MEASURE.
MEANING = {f"{table}.{name}": what for table, measures in MEASURES.items() for name, what in measures.items()}
