"""Named arrays of a MATLAB file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from fabnet.errors import UserError


def read_mat(path: Path, keys: Sequence[str], what: str) -> dict[str, Any]:
    """The arrays called `keys`, as they are; `what` the file should be of ends an error.

    Raises:
        UserError: the file is absent, no MATLAB file, of version 7.3, or lacks a key.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        values = scipy.io.loadmat(path, variable_names=list(keys))
    except NotImplementedError:  # version 7.3 is HDF5, which SciPy does not read
        raise UserError(
            f"{path}: a MATLAB file of version 7.3, which is not read; save it again with `save -v7` in MATLAB"
        ) from None
    except Exception as error:  # SciPy meets damaged files with anything from IndexError to zlib.error
        raise UserError(f"{path}: not a readable .mat file: {' '.join(str(error).split())[:100]}") from None
    for key in keys:
        if key not in values:
            raise UserError(f"{path}: has no {key}; is it a file of {what}?")
    return values


def numbers(values: dict[str, Any], key: str, shape: tuple[int | None, ...], path: Path) -> np.ndarray:
    """An array of `read_mat` as float64; None stands for any length.

    Raises:
        UserError: it has another shape, or holds something else than finite numbers.
    """
    array = np.asarray(values[key])
    fits = array.ndim == len(shape) and all(want in (None, has) for want, has in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        wanted = " x ".join("N" if length is None else str(length) for length in shape)
        raise UserError(f"{path}: {key} must be {wanted} finite numbers, not {array.shape} {array.dtype}")
    return array.astype(np.float64)
