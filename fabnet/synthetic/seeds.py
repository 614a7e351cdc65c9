"""Random generators of the embedded data: one per identity, a function of (seed, role, number) alone."""

import numpy as np

_ROLES = {"video": 0, "face": 1}


def generator(seed: int, role: str, number: int) -> np.random.Generator:
    """The generator of identity `number` among the identities of videos ("video") or of labelled faces ("face")."""
    return np.random.default_rng([seed, _ROLES[role], number])
