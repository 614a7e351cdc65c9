"""Every measure of health that params may set limits to, by table, and how to name a row of each table."""

from fabnet.config import HealthParams, Limits

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

#: What each measure is, with its unit.
MEANING = {
    "splits.identities_off_pct": "a split's share of the identities against params, percentage points",
    "splits.frames_off_pct": "a split's share of the frames against params, percentage points",
    "identities.tracks": "tracks of an identity",
    "identities.frames": "frames of an identity",
    "tracks.frames": "frames of a track",
    "tracks.brightness": "mean brightness of a track's frames, 0 to 255",
    "tracks.darkest": "brightness of a track's darkest frame, 0 to 255",
    "tracks.brightest": "brightness of a track's brightest frame, 0 to 255",
    "tracks.sharpness": "mean sharpness of a track's frames, variance of the Laplacian",
    "tracks.side": "mean side of a track's boxes, pixels of the video",
    "rejects.pct": "clips and tracks rejected for one reason, % of those kept and rejected",
    "rejects.total_pct": "clips and tracks rejected for any reason, % of those kept and rejected",
    "sampled.named": "whether the shard's own header names a sampled frame as the index does, 1 or 0",
    "sampled.decodes": "whether a sampled frame decodes, 1 or 0",
    "sampled.side_off": "pixels between a sampled frame's sides and crop.json's size",
    "sampled.brightness_off": "grey levels between a sampled frame's brightness and the index's",
    "sampled.sharpness_ratio": "a sampled frame's sharpness over the index's",
    "duplicates.exact": "sampled frames whose very bytes lie in both splits",
    "duplicates.near_pct": "sampled frames of the smaller split that look like one of the other split, %",
    "shared.tracks": "tracks of the second split that share their name, or a frame's bytes, with one of the first",
    "closest.distance": "1 - cosine between the two closest sampled frames of two splits",
    "closest.suspects_pct": "sampled frames of the second split that lie closer to one of the first than three in four "
    "sampled frames lie to any other one of their own identity, %",
    "sets.faces": "faces of a split of a labelled set",
    "sets.identities": "identities of a split of a labelled set",
    "sets.widest_deg": "the greatest angle of a head in a split of a labelled set, degrees",
    "sets.points_wide": "width of a face's landmarks over that of its box, median of a split of a labelled set",
    "labels.share_pct": "faces of a split that show an expression or unit, %",
    "drift.distance": "mean difference of a measure's quantiles from the profile's, in its interquartile ranges",
}


def limits_of(params: HealthParams, table: str) -> dict[str, Limits]:
    """The limits that params set to the measures of a table."""
    section = getattr(params, table)
    return {measure: getattr(section, measure) for measure in type(section).model_fields}
