"""The quadratic form of an error, ``d^T G d``, in extended precision with its rounding bounded.

Differences are formed and summed in extended precision where the platform has it, with a bound on
what rounding can do, so a value called *upper* is never below the true one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.linalg.split import WIDE, split_form

Floats = NDArray[np.float64]


def form(gram: ArrayLike, rows: NDArray) -> NDArray[np.longdouble]:
    """``d^T G d`` for every row ``d`` of ``rows`` (channels, n), in extended precision."""
    rows, matrix = np.asarray(rows, np.longdouble), np.asarray(gram)
    if len(matrix) >= WIDE and rows.ndim == 2:
        value = split_form(matrix, rows)
        if value is not None:
            return value
    return ((rows @ matrix.astype(np.longdouble)) * rows).sum(axis=-1)


def form_upper(gram: ArrayLike, rows: NDArray) -> Floats:
    """An upper bound on ``d^T G d`` per row: the value plus all its rounding (Higham, ch. 3)."""
    gram, rows = np.asarray(gram), np.asarray(rows, np.longdouble)
    slack = _magnitude(gram, rows) * rounding_factor(gram.shape[0])
    # What vanished in a product is less than this for every row that costs anything.
    vanished = np.finfo(np.longdouble).tiny * ((rows != 0) & (np.diag(gram) > 0)).any(axis=-1)
    with np.errstate(over="ignore"):
        value = np.maximum(form(gram, rows), 0) + slack + vanished
        return np.nextafter(value.astype(np.float64), np.inf) * (value > 0)


def form_lower(gram: ArrayLike, rows: NDArray) -> Floats:
    """A lower bound on ``d^T G d`` per row, never negative: the value less all its rounding."""
    gram, rows = np.asarray(gram), np.asarray(rows, np.longdouble)
    slack = _magnitude(gram, rows) * rounding_factor(gram.shape[0])
    value = np.maximum(form(gram, rows) - slack, 0)
    return np.maximum(np.nextafter(value.astype(np.float64), -np.inf), 0.0)


def _magnitude(gram: NDArray, rows: NDArray) -> NDArray[np.longdouble]:
    """``|d|^T |G| |d|`` per row, or a little more."""
    if len(gram) < WIDE or rows.ndim != 2:
        return form(np.abs(gram), np.abs(rows))
    # a relative error of one sum of non-negative products, in double
    size = np.abs(rows).max(axis=1, initial=0.0)[:, None]
    size = np.where(size > 0, size, 1)
    reach = np.abs(rows / size).astype(np.float64) * (1 + 2.0**-52)
    value = ((reach @ np.abs(gram.astype(np.float64))) * reach).sum(axis=1)
    grown = value.astype(np.longdouble) * (1 + 1e-9) + np.finfo(np.float64).tiny * len(gram) ** 2
    return grown * size[:, 0] * size[:, 0]


def rounding_factor(n: int) -> np.longdouble:
    """A factor gamma covering every product and sum of an extended-precision ``d^T G d``."""
    return np.longdouble(2 * n + 8) * np.finfo(np.longdouble).eps
