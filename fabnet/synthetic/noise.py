"""Smooth random patterns of an identity: strands of hair, pores and freckles."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fabnet.synthetic.portable import falloff
from fabnet.synthetic.seeds import normal

_STRANDS = 512
_SKIN = 128


@dataclass(frozen=True)
class Noise:
    strands: np.ndarray  # (_STRANDS,) float32, periodic, mean 0, about unit deviation
    skin: np.ndarray  # (_SKIN, _SKIN) float32, periodic in both, mean 0, about unit deviation

    def strand(self, u: np.ndarray) -> np.ndarray:
        """Periodic with period 1."""
        at = (u - np.floor(u)) * np.float32(_STRANDS)
        low = at.astype(np.int32)
        part = at - low
        first = self.strands[low % _STRANDS]
        return first + part * (self.strands[(low + 1) % _STRANDS] - first)

    def grain(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Nearest value; periodic with period 1 in both."""
        column = (u * np.float32(_SKIN)).astype(np.int32) % _SKIN
        row = (v * np.float32(_SKIN)).astype(np.int32) % _SKIN
        return self.skin[row, column]


@lru_cache(maxsize=8)
def noise_of(seed: int) -> Noise:
    rng = np.random.default_rng([seed, 1])
    strands = np.sum([_smooth(normal(rng, _STRANDS), width) for width in (2.0, 5.0, 14.0)], axis=0)
    skin = normal(rng, _SKIN, _SKIN)
    skin = _smooth(_smooth(skin, 1.0).T, 1.0).T
    return Noise(_standard(strands), _standard(skin))


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    """Periodic Gaussian blur along the last axis, to unit deviation."""
    # Not by a Fourier transform: its sines and cosines are the C library's.
    count, reach = values.shape[-1], math.ceil(3.5 * width)
    weights = falloff(0.5 * np.square(np.arange(-reach, reach + 1) / width))
    around = np.concatenate([values[..., -reach:], values, values[..., :reach]], axis=-1)
    blurred = np.zeros_like(values)
    for start, weight in enumerate(weights):
        blurred += weight * around[..., start : start + count]
    return blurred / blurred.std()


def _standard(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / values.std()).astype(np.float32)
