"""Random generators of the synthetic data, one per identity, and the distributions that are drawn from them.

NumPy draws normal and exponential values by ziggurats: a value is a whole number times one of a table, but in the tail,
where it comes from the C library's logarithm, whose last bits depend on the processor. The tails are cut off here.
"""

import numpy as np

_ROLES = {"video": 0, "face": 1}

#: Below where the tails of NumPy's ziggurats begin, 3.6541 and 7.6971: beyond are 0.03 % and 0.05 % of the values.
_NORMAL_END, _EXPONENTIAL_END = 3.65, 7.69


def generator(seed: int, role: str, number: int) -> np.random.Generator:
    """The generator of identity `number` among the identities of videos ("video") or of labelled faces ("face")."""
    return np.random.default_rng([seed, _ROLES[role], number])


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal values of mean 0 and deviation 1, float64 of this shape, between -3.65 and 3.65."""
    return np.clip(rng.normal(size=shape), -_NORMAL_END, _NORMAL_END)


def exponential(rng: np.random.Generator, mean: float) -> float:
    """One exponential value, at most 7.69 means."""
    return mean * min(float(rng.exponential()), _EXPONENTIAL_END)
