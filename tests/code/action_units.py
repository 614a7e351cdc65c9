"""Action units by name, for states of synthetic faces."""

from fabnet.tables import UNIT_COLUMNS


def units_of(**intensities: float) -> tuple[float, ...]:
    """Intensities in the order of `tables.UNITS` from keywords such as `au12=0.8`; the rest is 0."""
    unknown = sorted(set(intensities) - set(UNIT_COLUMNS))
    if unknown:
        raise ValueError(f"no such action unit: {', '.join(unknown)}")
    return tuple(float(intensities.get(column, 0.0)) for column in UNIT_COLUMNS)
