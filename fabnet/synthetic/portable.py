"""Functions and random numbers whose bits are the same on every x86-64 processor.

They use + - * / and square roots alone, which IEEE 754 rounds in one way. The exponential and trigonometric functions
of NumPy and of the C library come in a version for each instruction set, and each rounds in its own way; a product of
matrices is summed in another order by each kernel of BLAS (docs/decisions/0014-same-bytes-everywhere.md).

Where only a picture is made, the smooth shape of a function matters and not its last digits: `falloff` and `angle` are
approximations of stated error.

NumPy draws normal and exponential values by ziggurats: a value is a whole number times one of a table, but in the tail,
where it comes from the C library's logarithm, whose last bits depend on the processor. The tails are cut off here.
"""

import math

import numpy as np

#: Steps of the grid of `exact_product`: its sums of whole numbers stay below 2 ** 53, where float64 is exact.
_GRID = float(1 << 20)


def falloff(depth: np.ndarray) -> np.ndarray:
    """e to the power of -depth for depth >= 0, to 0.0011, and 0.000015 from 16 on: a new array of the same type.

    It is the 16th power of the first terms of e to the power of -depth / 16.
    """
    t = depth * np.float32(1 / 16)
    np.minimum(t, 1, out=t)
    value = t * np.float32(0.5)
    value -= 1
    value *= t
    value += 1
    for _ in range(4):
        value *= value
    return value


def bell(x: np.ndarray) -> np.ndarray:
    """e to the power of -x * x, to 0.0011: a new array of the same type."""
    return falloff(x * x)


def angle(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The angle of (x, y) as arctan2 gives it, to 0.004 radians, 0 at the origin: a new float32 array.

    Args:
        y, x: of the same shape.
    """
    rise, run = np.abs(y), np.abs(x)
    ratio = np.minimum(rise, run)
    ratio /= np.maximum(np.maximum(rise, run), np.float32(1e-30))
    turn = ratio * np.float32(-0.273)
    turn += np.float32(0.25 * math.pi + 0.273)
    turn *= ratio
    turn = np.where(rise > run, np.float32(0.5 * math.pi) - turn, turn)
    turn = np.where(x < 0, np.float32(math.pi) - turn, turn)
    return np.copysign(turn, y, dtype=np.float32)


def hypot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lengths of vectors (x, y).

    Args:
        x, y: of the same shape.
    """
    return np.sqrt(x * x + y * y)


def dot(vector: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Inner products (N,) of a vector (3,) and points (3, N), summed from the first coordinate to the last.

    Args:
        vector: summed first to last.
        points: a column each.
    """
    return vector[0] * points[0] + vector[1] * points[1] + vector[2] * points[2]


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (3,) or (3, N) scaled to length 1."""
    x, y, z = vector
    return vector / np.sqrt(x * x + y * y + z * z)


def exact_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The matrix product (m, n) float32 of (m, k) and (k, n), each value rounded to a multiple of 2 ** -20.

    Values below 2 in magnitude and k up to 2,000 keep every sum of the rounded values exact, so that their order, which
    is BLAS's choice, does not matter.

    Args:
        left, right: float32 matrices.
    """
    whole = np.rint(left.astype(np.float64) * _GRID) @ np.rint(right.astype(np.float64) * _GRID)
    return (whole * (1 / (_GRID * _GRID))).astype(np.float32)


def sin_cos(degrees: float) -> tuple[float, float]:
    """Sine and cosine of an angle in degrees, to 1e-15."""
    quarters = round(degrees / 90)
    x = (degrees - 90 * quarters) * (math.pi / 180)
    square = x * x
    sine = cosine = 1.0
    for n in range(16, 0, -2):
        cosine = 1 - cosine * square / (n * (n - 1))
        sine = 1 - sine * square / (n * (n + 1))
    sine *= x
    return ((sine, cosine), (cosine, -sine), (-sine, -cosine), (-cosine, sine))[quarters % 4]


_ROLES = {"video": 0, "face": 1}

#: Below where the tails of NumPy's ziggurats begin, 3.6541 and 7.6971: beyond are 0.03 % and 0.05 % of the values.
_NORMAL_END, _EXPONENTIAL_END = 3.65, 7.69


def generator(seed: int, role: str, number: int) -> np.random.Generator:
    """The generator of identity `number` among the identities of videos ("video") or of labelled faces ("face").

    Args:
        seed: of the data set.
        role: "video" or "face".
        number: of the identity, from 0.
    """
    return np.random.default_rng([seed, _ROLES[role], number])


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal values of mean 0 and deviation 1, float64 of this shape, between -3.65 and 3.65.

    Args:
        rng: advanced by the number of values.
        *shape: of the result.
    """
    return np.clip(rng.normal(size=shape), -_NORMAL_END, _NORMAL_END)


def exponential(rng: np.random.Generator, mean: float) -> float:
    """One exponential value, at most 7.69 means.

    Args:
        rng: that draws it.
        mean: above 0.
    """
    return mean * min(float(rng.exponential()), _EXPONENTIAL_END)
