"""Random numbers as a pure function of (seed, index, slot), so that workers, order and world size do not matter."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, index: NDArray[np.int64], slot: int) -> NDArray[np.float64]:
    """One draw from [0, 1) for each index; draws of different seeds, indices and slots are independent.

    The finaliser of SplitMix64 (Steele et al. 2014) over a counter, 53 bits kept.
    """
    with np.errstate(over="ignore"):
        key = _mix(np.uint64(seed) * _GOLDEN + np.uint64(slot) + np.uint64(1))
        bits = _mix(_mix(index.astype(np.uint64) * _GOLDEN + key) ^ key)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(bits: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    bits = np.asarray(bits, dtype=np.uint64) + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
